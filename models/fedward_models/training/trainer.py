"""One phase at work: an optimiser, a precision, and the order of a step."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from fedward_core.errors import SpecError
from fedward_core.spec import Local
from fedward_models.batch import Batch
from fedward_models.method import Method
from fedward_models.step import Clock
from fedward_models.training.batch_norms import told_of_single_values
from fedward_models.training.optimizer import build_optimizer, set_rate
from fedward_models.training.phase import Phase
from fedward_models.training.schedule import learning_rate
from fedward_models.training.sharpness import uphill
from fedward_models.training.workers import average_buffers, average_figures, average_gradients, joined_share


class Trainer:
    """Makes the steps of a phase.

    Args:
        method: What is trained; on the device and in training mode.
        phase: How.
        parameters: What of it moves, by name.
        device: Where to compute.

    Raises:
        SpecError: Mixed precision without a GPU.
    """

    def __init__(
        self, method: Method, phase: Phase, parameters: Mapping[str, nn.Parameter], device: torch.device
    ) -> None:
        self.method = method
        self.local = phase.local
        self.terms = phase.terms
        self.parameters = tuple(parameters.values())
        self.device = device
        self.optimizer = build_optimizer(method, parameters, phase.local)
        self.half = _half_type(phase.local, device)
        # 16-bit floats of the older kind underflow without a scaled loss; bfloat16 has the range of float32.
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.half is torch.float16)
        self.share = joined_share()
        self._draws = torch.Generator()

    def step(self, batch: Batch, clock: Clock, *, seed: int) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Make one step.

        Args:
            batch: As the loader gives it.
            clock: Where training stands.
            seed: Seeds what ``prepare`` draws.

        Returns:
            The loss with all terms, and the figures of the method; their means where workers train together.
        """
        draws = self._draws.manual_seed(self.share.own_seed(seed))
        prepared = self.method.prepare(batch, draws).to(self.device)
        self.method.before_step(clock)
        loss, figures = self._gradients(prepared, clock)
        if self.local.sam_rho:
            with uphill(self.parameters, self.local.sam_rho):
                self._gradients(prepared, clock)
        self._update(clock)
        self.method.after_step(clock)
        return self._with_others(loss, figures)

    def _gradients(self, batch: Batch, clock: Clock) -> tuple[Tensor, Mapping[str, Tensor]]:
        self.optimizer.zero_grad()
        loss, figures = self._forward(batch, clock)
        torch.autograd.backward(self.scaler.scale(loss))
        if self.share.count > 1:
            average_gradients(self.parameters)
        return loss.detach(), figures

    def _forward(self, batch: Batch, clock: Clock) -> tuple[Tensor, Mapping[str, Tensor]]:
        _seed_modules(batch.seed, self.device)
        with torch.autocast(self.device.type, dtype=self.half, enabled=self.half is not None):
            with told_of_single_values(len(batch)):
                output = self.method.training_step(batch, clock)
            added = (term.loss(self.method, batch, output) for term in self.terms)
            loss = sum((loss for loss in added if loss is not None), output.loss)
        return loss, output.figures

    def _update(self, clock: Clock) -> None:
        self.scaler.unscale_(self.optimizer)
        self.method.after_backward(clock)
        for term in self.terms:
            term.after_backward(self.method)
        if self.local.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.parameters, self.local.clip_norm)
        set_rate(self.optimizer, learning_rate(self.local.schedule, peak=self.optimizer.defaults["lr"], clock=clock))
        self.scaler.step(self.optimizer)
        self.scaler.update()
        for term in self.terms:
            term.after_step(self.method)

    def _with_others(self, loss: Tensor, figures: Mapping[str, Tensor]) -> tuple[Tensor, Mapping[str, Tensor]]:
        if self.share.count == 1:
            return loss, figures
        average_buffers(self.method)
        means = average_figures({"": loss, **figures})
        return means.pop(""), means


def _seed_modules(seed: int, device: torch.device) -> None:
    """Seed what dropout and drop-path draw from; ``torch.manual_seed`` would queue a call for every absent device."""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)


def _half_type(local: Local, device: torch.device) -> torch.dtype | None:
    if local.precision == "full":
        return None
    if device.type != "cuda":
        raise SpecError(f"precision 'mixed' needs a GPU, found '{device.type}': set precision: full, or device: cuda")
    return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
