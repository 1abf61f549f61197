"""Hiding blocks of neighbouring patches, as BEiT does (Bao et al., ICLR 2022, algorithm 1).

Faithful to SSL-FL (rui-yan/SSL-FL, commit 69c3388, code/util/masking_generator.py), also where it stops early: the
number of hidden patches is at most the budget, and often a few below it, so that it differs from image to image.
Differs: chance comes from the generator that is passed; the published code draws from an unseeded one.
"""

from math import exp, log, sqrt

import numpy as np
from numpy.typing import NDArray

_ATTEMPTS = 10
_MAX_LOG_ASPECT = log(1 / 0.3)
# The smallest block has 16 of 196 patches (SSL-FL, Sec. 2.5). Decided here: as large a part of other grids.
_SMALLEST_PART = 16 / 196
# Decided here: SSL-FL knows one grid, of 196, and steps of five would be coarse on a small one.
_COARSE_FROM = 100


def mask_budget(num_patches: int, *, mask_ratio: float) -> int:
    """The most patches that are hidden: a multiple of five (SSL-FL, Sec. 2.4), of one on grids of less than 100."""
    unit = 5 if num_patches >= _COARSE_FROM else 1
    return unit * round(num_patches / unit * mask_ratio)


def hide_blocks(side: int, *, budget: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Hide blocks of patches until the budget is reached, or no further block was found.

    Args:
        side: Patches along each side.
        budget: The most patches that are hidden.
        rng: Every draw.

    Returns:
        (side, side) booleans, True where a patch is hidden.
    """
    hidden = np.zeros((side, side), dtype=bool)
    while (left := budget - int(hidden.sum())) > 0:
        block = _propose(hidden, left, rng)
        if block is None:
            break
        hidden[block] = True
    return hidden


def _propose(hidden: NDArray[np.bool_], left: int, rng: np.random.Generator) -> tuple[slice, slice] | None:
    """The first of ten blocks that hides something new and no more than is left."""
    for _ in range(_ATTEMPTS):
        block = _draw_block(len(hidden), left, rng)
        if block is not None and 0 < int((~hidden[block]).sum()) <= left:
            return block
    return None


def _draw_block(side: int, left: int, rng: np.random.Generator) -> tuple[slice, slice] | None:
    """A block of some area and aspect at some place; None if it is as long as the grid."""
    smallest = max(round(_SMALLEST_PART * side**2), 1)
    area = smallest + (left - smallest) * rng.random()  # the bounds may stand in either order
    aspect = exp(rng.uniform(-_MAX_LOG_ASPECT, _MAX_LOG_ASPECT))
    height, width = round(sqrt(area * aspect)), round(sqrt(area / aspect))
    if height >= side or width >= side:
        return None
    top, start = (int(rng.integers(side - length, endpoint=True)) for length in (height, width))
    return slice(top, top + height), slice(start, start + width)
