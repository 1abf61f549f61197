"""The local term that ties the two halves of a decoupled network together: each learns from the other's predictions."""

from torch import Tensor

from fedward_models.losses.cyclic_distillation import cyclic_distillation
from fedward_models.method import Batch, Method, StepOutput
from fedward_models.personalisation.config import ChannelDecouplingConfig
from fedward_models.personalisation.halves import Gate, Half, only
from fedward_models.training.terms import LocalTerm


class CyclicDistillation(LocalTerm):
    """lambda * L_CD between the logits of the shared half and those of the private half, on the prepared images.

    It runs after the method's own step, so what dropout or drop-path draw here does not disturb the full pass.

    Args:
        config: The weight, the temperature, and whether the teacher is detached.
        gates: Where passes through one half are masked, in this round.
    """

    def __init__(self, config: ChannelDecouplingConfig, gates: tuple[Gate, ...]) -> None:
        self.config = config
        self.gates = gates

    def loss(self, method: Method, batch: Batch, output: StepOutput) -> Tensor:  # noqa: ARG002 - the family's signature
        """The weighted distillation between the halves, a scalar."""
        distance = cyclic_distillation(
            self._logits(Half.SHARED, method, batch),
            self._logits(Half.PRIVATE, method, batch),
            temperature=self.config.temperature,
            detach_teacher=self.config.detach_teacher,
        )
        return self.config.distillation * distance

    def _logits(self, half: Half, method: Method, batch: Batch) -> Tensor:
        with only(half, method, self.gates):
            return method.logits(batch.images)
