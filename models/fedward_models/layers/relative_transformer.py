"""Transformer blocks with relative positions and scaled branches (BEiT, Bao et al., ICLR 2022): those of timm.

A table holds one number for each head and each offset between two patches, and three more for the class token: to a
patch, from a patch, and to itself. It is added to the attention of every pair of tokens.
"""

from functools import partial
from math import sqrt
from typing import Any, TypeAlias

import torch
from timm.layers.drop import DropPath
from timm.models.beit import Block, RelativePositionBias
from torch import nn

from fedward_models.layers.transformer import layer_norm

Blocks: TypeAlias = Any
"""A ``ModuleList`` of timm's blocks, whose type torch forgets."""

_STD = 0.02


def relative_blocks(  # noqa: PLR0913 - every size by its name
    *, width: int, depth: int, heads: int, mlp_ratio: float, layer_scale: float, side: int
) -> nn.ModuleList:
    """Pre-norm blocks, each with a table of its own, zero at first; without a bias of the keys.

    Args:
        width: E.
        depth: How many.
        heads: Attention heads; they divide the width.
        mlp_ratio: Hidden units over the width.
        layer_scale: The first scale of both branches.
        side: Patches along each side of the image.
    """
    norm: Any = layer_norm  # timm calls it with a width, whatever its annotation says
    make = partial(Block, width, heads, qkv_bias=True, mlp_ratio=mlp_ratio, init_values=layer_scale, norm_layer=norm)
    blocks = [make(window_size=(side, side)) for _ in range(depth)]
    for block in blocks:
        block.attn.fused_attn = True  # timm reads this from the environment, which must never change results
    return nn.ModuleList(blocks)


def set_drop_path(blocks: Blocks, last: float) -> None:
    """Skip the last block at a rate, and those before it at rates that rise linearly from 0 at the first."""
    rates = torch.linspace(0, last, len(blocks), device="cpu").tolist()
    for block, rate in zip(blocks, rates, strict=True):
        block.drop_path1, block.drop_path2 = (DropPath(rate) if rate else nn.Identity() for _ in range(2))


def share_positions(blocks: Blocks, *, heads: int, side: int) -> RelativePositionBias:
    """Take every block's own table away, and give the one that all of them share from here on."""
    for block in blocks:
        block.attn.relative_position_bias_table = None
    return RelativePositionBias((side, side), heads)


def initialise_truncated(module: nn.Module) -> None:
    """Weights of linear maps and patch kernels from a normal of deviation 0.02, cut there; zero biases (SSL-FL, BEiT).

    For use with ``Module.apply``; norms keep 1 and 0.
    """
    if isinstance(module, nn.Linear | nn.Conv2d):
        truncated_normal(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def truncated_normal(tensor: torch.Tensor) -> None:
    """Fill from a normal of deviation 0.02 that is cut at one deviation (SSL-FL, code/fed_beit/modeling_pretrain)."""
    nn.init.trunc_normal_(tensor, std=_STD, a=-_STD, b=_STD)


@torch.no_grad()
def calm_deeper_blocks(blocks: Blocks) -> None:
    """Divide what block l, counted from 1, adds to the stream by the root of 2l (BEiT, Sec. 2.5)."""
    for depth, block in enumerate(blocks, start=1):
        block.attn.proj.weight.div_(sqrt(2 * depth))
        block.mlp.fc2.weight.div_(sqrt(2 * depth))
