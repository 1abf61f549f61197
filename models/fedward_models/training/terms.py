"""Local terms: what joins a method's training at a site, knowing the weights that the round started from.

begin -> ( loss -> after_backward -> after_step ) for every step -> after_epoch -> ... -> end
"""

import torch
from torch import Tensor
from torch.nn import functional

from fedward_models.batch import Batch
from fedward_models.method import Method
from fedward_models.step import StepOutput
from fedward_models.training.config import ProximalConfig


class LocalTerm:
    """The base of every local term: it adds to the loss, or acts between the steps. By default it does nothing."""

    def begin(self, method: Method) -> None:
        """Called with the weights of the round's start, once, before the first step."""

    def loss(self, method: Method, batch: Batch, output: StepOutput) -> Tensor | None:  # noqa: ARG002 - the family's
        """A scalar that joins the loss; None for none.

        Args:
            method: The method as it stands.
            batch: The prepared batch of this step.
            output: What the method's own step gave.
        """
        return None

    def after_backward(self, method: Method) -> None:
        """Called between backward and the optimiser, before gradients are clipped."""

    def after_step(self, method: Method) -> None:
        """Called after the optimiser's step, before the method's own hook."""

    def after_epoch(self, method: Method) -> None:
        """Called after every local epoch."""

    def end(self, method: Method) -> None:
        """Called after the last step of the round's phase."""


class Proximal(LocalTerm):
    """Holds a site near the weights it was given: mu/2 * ||w - w_t||^2.

    Paper: Li et al., Federated Optimization in Heterogeneous Networks, MLSys 2020, equation 2. Here w runs over what is
    trained; what stands still would add nothing.

    Args:
        config: The strength mu.
    """

    def __init__(self, config: ProximalConfig) -> None:
        self.mu = config.mu
        self._start: dict[str, Tensor] = {}

    def begin(self, method: Method) -> None:
        """Copy the weights of the round's start."""
        named = method.named_parameters()
        self._start = {name: parameter.detach().clone() for name, parameter in named if parameter.requires_grad}

    def loss(self, method: Method, batch: Batch, output: StepOutput) -> Tensor:  # noqa: ARG002 - the family's signature
        """mu/2 times the squared distance to the start."""
        distances = [
            functional.mse_loss(parameter, self._start[name], reduction="sum")
            for name, parameter in method.named_parameters()
            if parameter.requires_grad
        ]
        return self.mu / 2 * torch.stack(distances).sum()
