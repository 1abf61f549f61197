"""The local term that ties the two halves of a decoupled network together: each learns from the other's predictions."""

from torch import Tensor

from fedward_models.batch import Batch
from fedward_models.losses.cyclic_distillation import cyclic_distillation
from fedward_models.method import Method
from fedward_models.personalisation.config import ChannelDecouplingConfig
from fedward_models.personalisation.first_layers import FirstLayers
from fedward_models.personalisation.halves import Gate, Half, only
from fedward_models.step import StepOutput
from fedward_models.training.terms import LocalTerm


class CyclicDistillation(LocalTerm):
    """lambda * L_CD between the logits of the shared half and those of the private half, on the prepared images.

    It runs after the method's own step, so what dropout or drop-path draw here does not disturb the full pass, and
    layers that read the images need not run again.

    Args:
        config: The weight, the temperature, and whether the teacher is detached.
        gates: Where passes through one half are masked, in this round.
    """

    def __init__(self, config: ChannelDecouplingConfig, gates: tuple[Gate, ...]) -> None:
        self.config = config
        self.gates = gates
        self._first: FirstLayers | None = None

    def begin(self, method: Method) -> None:
        """Watch the layers that read the images."""
        self._first = FirstLayers(method, (gate.module for gate in self.gates if not gate.before))

    def end(self, method: Method) -> None:  # noqa: ARG002 - the family's signature
        """Let them go."""
        assert self._first is not None
        self._first.forget()

    def loss(self, method: Method, batch: Batch, output: StepOutput) -> Tensor:  # noqa: ARG002 - the family's signature
        """The weighted distillation between the halves, a scalar."""
        assert self._first is not None
        with self._first.recalled():
            shared, private = (self._logits(half, method, batch) for half in (Half.SHARED, Half.PRIVATE))
        distance = cyclic_distillation(
            shared, private, temperature=self.config.temperature, detach_teacher=self.config.detach_teacher
        )
        return self.config.distillation * distance

    def _logits(self, half: Half, method: Method, batch: Batch) -> Tensor:
        with only(half, method, self.gates):
            return method.logits(batch.images)
