"""A network that follows another one slowly: the target of BYOL, the momentum encoder of MoCo."""

from copy import deepcopy

import torch
from torch import Tensor, nn


class SlowCopy(nn.Module):
    """Copies of modules in a row that follow them and take no gradient.

    Parameters follow; the statistics of batch norms are those of the copy's own passes.

    Args:
        modules: In the order in which a batch passes through them.
    """

    def __init__(self, *modules: nn.Module) -> None:
        super().__init__()
        self.row = nn.Sequential(*map(deepcopy, modules))
        self.requires_grad_(False)

    @torch.no_grad()
    def forward(self, batch: Tensor) -> Tensor:
        """What the copies make of a batch, one after the other."""
        result: Tensor = self.row(batch)
        return result

    @torch.no_grad()
    def follow(self, *modules: nn.Module, momentum: float) -> None:
        """Keep ``momentum`` of each parameter, in [0, 1], and take the rest from the modules: 0 copies them."""
        for own, theirs in zip(self.row, modules, strict=True):
            for slow, fast in zip(own.parameters(), theirs.parameters(), strict=True):
                slow.lerp_(fast, 1 - momentum)

    def restart(self, *modules: nn.Module) -> None:
        """Become the modules, statistics included."""
        for own, theirs in zip(self.row, modules, strict=True):
            own.load_state_dict(theirs.state_dict())
