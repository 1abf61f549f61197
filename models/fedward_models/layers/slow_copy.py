"""A network that follows another one slowly: the target of BYOL, the momentum branch of MoCo and DINO."""

from collections.abc import Mapping
from copy import deepcopy
from math import cos, pi

import torch
from torch import Tensor, nn

Followed = Mapping[str, nn.Module]


class SlowCopy(nn.Module):
    """Copies of modules that follow them and take no gradient.

    Parameters follow; the statistics of batch norms are those of the copy's own passes, as in MoCo v3.

    Args:
        followed: The modules by name, in the order in which a batch passes through them.
    """

    def __init__(self, followed: Followed) -> None:
        super().__init__()
        for name, module in followed.items():
            self.add_module(name, deepcopy(module))
        self.requires_grad_(False)

    @torch.no_grad()
    def forward(self, batch: Tensor) -> Tensor:
        """What the copies make of a batch, one after the other."""
        for module in self.children():
            batch = module(batch)
        return batch

    @torch.no_grad()
    def follow(self, followed: Followed, *, momentum: float) -> None:
        """Keep ``momentum`` of each parameter, in [0, 1], and take the rest from the modules: 0 copies them."""
        for name, module in followed.items():
            copies = self.get_submodule(name).parameters()
            for slow, fast in zip(copies, module.parameters(), strict=True):
                slow.mul_(momentum).add_(fast, alpha=1 - momentum)

    def restart(self, followed: Followed) -> None:
        """Become the modules, statistics included."""
        for name, module in followed.items():
            self.get_submodule(name).load_state_dict(module.state_dict())


def rising_momentum(first: float, part: float) -> float:
    """What a slow copy keeps of itself, rising to 1 as half a cosine (BYOL, Grill et al., NeurIPS 2020).

    Args:
        first: At the start of training, in [0, 1].
        part: Of training that has passed, in [0, 1].
    """
    return 1 - (1 - first) * (1 + cos(pi * part)) / 2
