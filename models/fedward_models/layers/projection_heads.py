"""Heads of self-supervised learning: from features to what is compared.

Letters: B batch, E features, D what is compared, K prototypes.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional


def normed_head(*widths: int, last_norm: bool = True, bias: bool = False) -> nn.Sequential:
    """Linear maps, each but the last with batch norm and ReLU (MoCo v3, Chen et al., ICCV 2021).

    Args:
        widths: From the features to what is compared, hidden layers between.
        last_norm: End with a batch norm without scale and shift, as beside a ViT.
        bias: Give the linear maps biases; MoCo v3 has none.
    """
    layers: list[nn.Module] = []
    for width, next_width in pairwise(widths[:-1]):
        layers += [nn.Linear(width, next_width, bias=bias), nn.BatchNorm1d(next_width), nn.ReLU()]
    layers.append(nn.Linear(widths[-2], widths[-1], bias=bias))
    if last_norm:
        layers.append(nn.BatchNorm1d(widths[-1], affine=False))
    return nn.Sequential(*layers)


class PrototypeHead(nn.Module):
    """A three-layer network with GELU, and cosine similarities with prototypes (DINO, Caron et al., ICCV 2021).

    As in DINO with its last layer normed: the length of a prototype does not matter.

    Args:
        features: E.
        hidden: Units of both hidden layers.
        bottleneck: D.
        prototypes: K.
    """

    def __init__(self, *, features: int, hidden: int, bottleneck: int, prototypes: int) -> None:
        super().__init__()
        widths = (features, hidden, hidden, bottleneck)
        maps = [nn.Linear(*pair) for pair in pairwise(widths)]
        for linear in maps:
            nn.init.trunc_normal_(linear.weight, std=0.02)
            nn.init.zeros_(linear.bias)
        self.layers = nn.Sequential(maps[0], nn.GELU(), maps[1], nn.GELU(), maps[2])
        self.prototypes = nn.Parameter(torch.empty(prototypes, bottleneck))
        nn.init.kaiming_uniform_(self.prototypes, a=5**0.5)

    def forward(self, features: Tensor) -> Tensor:
        """(B, E) to (B, K) similarities in [-1, 1]."""
        compared = functional.normalize(self.layers(features), dim=1)
        return compared @ functional.normalize(self.prototypes, dim=1).T
