"""Where a token comes from: the fixed two-dimensional table of sines and cosines (MAE, He et al., CVPR 2022)."""

import math

import torch
from torch import Tensor
from torch.nn import functional


def sine_positions(*, width: int, side: int) -> Tensor:
    """The table for a square grid of patches with a class token in front.

    The first half of the width tells the column, the second the row. Each half is [sines | cosines] of the index times
    10000^(-i / (width/4)), i = 0 .. width/4 - 1 (SSL-FL, Sec. 2.1). The class token's row is zero.

    Args:
        width: E, a multiple of 4.
        side: Patches along each side.

    Returns:
        (1, 1 + side*side, E), float32, in [-1, 1]; patches row by row.
    """
    row, column = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    patches = torch.cat([_waves(column.flatten(), width // 2), _waves(row.flatten(), width // 2)], dim=1)
    table = torch.cat([torch.zeros(1, width, dtype=patches.dtype), patches])
    return table.float().unsqueeze(0)


def resized_positions(table: Tensor, *, side: int) -> Tensor:
    """The table for another square grid, stretched by bicubic interpolation; the class token's row stays.

    As in: MAE, util/pos_embed.py, at fine-tuning, and DINO (Caron et al., ICCV 2021) for small crops.

    Args:
        table: (1, 1 + N, E), of a square grid with a class token in front.
        side: Patches along each side of the new one.

    Returns:
        (1, 1 + side*side, E); the table itself where it has this size already.
    """
    old, width = math.isqrt(table.shape[1] - 1), table.shape[2]
    if side == old:
        return table
    grid = table[:, 1:].reshape(1, old, old, width).permute(0, 3, 1, 2)
    stretched = functional.interpolate(grid, size=(side, side), mode="bicubic", align_corners=False)
    return torch.cat([table[:, :1], stretched.flatten(2).transpose(1, 2)], dim=1)


def _waves(index: Tensor, width: int) -> Tensor:
    """(N,) integers to (N, width) sines and cosines, in double precision."""
    exponent = torch.arange(width // 2, dtype=torch.float64) / (width // 2)
    angle = index[:, None] * 10000.0**-exponent
    return torch.cat([angle.sin(), angle.cos()], dim=1)
