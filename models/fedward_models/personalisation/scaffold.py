"""SCAFFOLD: control variates that take the drift out of local steps.

    step                   y <- y - lr (g + c - c_k)
    after K of them        c_k' = c_k - c + (x - y) / (K lr)           option II of the paper
    what travels           y, and c + (c_k' - c_k)                     c_k stays at the site

Paper: S. P. Karimireddy et al., "SCAFFOLD: Stochastic Controlled Averaging for Federated Learning", ICML 2020,
arXiv:1910.06378, algorithm 1. Both variates are part of the state, one vector each over all that is trained: the
server's c travels with the weights and is folded by ``scaffold_mean``, the site's c_k is private.
"""

import torch
from torch import Tensor, nn

from fedward_core.partition import Partition, Role, Rule
from fedward_core.spec import Local
from fedward_models.method import Method
from fedward_models.personalisation.personalisation import Personalisation
from fedward_models.training.phase import Phase
from fedward_models.training.terms import LocalTerm

VARIATES = "variate"


class Variates(nn.Module):
    """c and c_k.

    Attributes:
        server: (P,), over the trained parameters in the method's order.
        site: (P,).
    """

    server: Tensor
    site: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("server", torch.zeros(size))
        self.register_buffer("site", torch.zeros(size))


class Scaffold(Personalisation):
    """Adds two vectors of the model's size to the state; one of them travels, so that messages double."""

    def extend(self, method: Method) -> None:
        """The variates, zero at the start of the stage."""
        method.add_module(VARIATES, Variates(sum(parameter.numel() for parameter in _trained(method))))

    def rules(self, method: Method) -> tuple[Rule, ...]:
        """The site's variate is private, the server's is shared, the rest as the method says."""
        variates = (
            Rule(pattern=rf"{VARIATES}\.site", role=Role.PRIVATE),
            Rule(pattern=rf"{VARIATES}\.server", role=Role.SHARED),
        )
        return (*variates, *method.rules())

    def phases(
        self,
        method: Method,  # noqa: ARG002 - the signature of the family
        partition: Partition,  # noqa: ARG002
        *,
        local: Local,
        terms: tuple[LocalTerm, ...],
        joining: bool,  # noqa: ARG002
    ) -> tuple[Phase, ...]:
        """One phase with corrected steps."""
        return (Phase(local=local, terms=(*terms, Correction(lr=local.optimizer.model_dump()["lr"]))),)


class Correction(LocalTerm):
    """Adds c - c_k to every gradient, and renews both variates at the round's end.

    Args:
        lr: The rate of every step.
    """

    def __init__(self, *, lr: float) -> None:
        self._lr = lr

    def begin(self, method: Method) -> None:
        """Note where the round starts."""
        variates = _variates(method)
        self._start = _flat(method)
        self._correction = variates.server - variates.site
        self._steps = 0

    def after_backward(self, method: Method) -> None:
        """Correct the gradients of a step."""
        self._steps += 1
        start = 0
        for parameter in _trained(method):
            part = self._correction[start : start + parameter.numel()]
            start += parameter.numel()
            if parameter.grad is not None:
                parameter.grad.add_(part.view_as(parameter))

    def end(self, method: Method) -> None:
        """Renew the variates from the way that the round went."""
        variates = _variates(method)
        mean_gradient = (self._start - _flat(method)) / (self._steps * self._lr)
        change = mean_gradient - variates.server
        variates.site.add_(change)
        variates.server.add_(change)


def _trained(method: Method) -> list[nn.Parameter]:
    return [parameter for parameter in method.parameters() if parameter.requires_grad]


def _flat(method: Method) -> Tensor:
    return torch.cat([parameter.detach().reshape(-1) for parameter in _trained(method)])


def _variates(method: Method) -> Variates:
    variates = method.get_submodule(VARIATES)
    assert isinstance(variates, Variates)
    return variates
