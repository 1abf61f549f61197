"""Masks over pixels, for hiding parts of an image from the training.

Letters: B batch, H height, W width.
"""

import torch
from torch import Tensor
from torch.nn import functional


def random_kept(shape: tuple[int, int, int], *, ratio: float, square_px: int, rng: torch.Generator) -> Tensor:
    """Which pixels stay visible, drawn square by square.

    Args:
        shape: (B, H, W).
        ratio: The chance that a square is hidden.
        square_px: Height and width of a square; those at the right and lower border may be cut.
        rng: A CPU generator.

    Returns:
        (B, 1, H, W), bool.
    """
    batch, rows, columns = shape[0], -(-shape[1] // square_px), -(-shape[2] // square_px)
    return _spread(torch.rand(batch, 1, rows, columns, generator=rng) >= ratio, shape, square_px)


def checkerboard_kept(shape: tuple[int, int, int], *, square_px: int) -> Tensor:
    """Every second square stays visible, as in chess; arguments and (B, 1, H, W) as of :func:`random_kept`."""
    rows, columns = (torch.arange(-(-size // square_px)) for size in shape[1:])
    kept = (rows[:, None] + columns[None]) % 2 == 0
    return _spread(kept.expand(shape[0], 1, -1, -1), shape, square_px)


def _spread(kept: Tensor, shape: tuple[int, int, int], square_px: int) -> Tensor:
    wide = functional.interpolate(kept.float(), scale_factor=square_px, mode="nearest")
    return wide[:, :, : shape[1], : shape[2]] > 0
