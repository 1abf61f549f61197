"""Images of nobody, to train a codebook on: noise at all scales, from integers alone.

Every step is exact in integers, or a single correctly rounded division or root, so that every machine draws the same
images bit for bit.

Letters: N images, H height, W width, C channel.
"""

from math import sqrt

import numpy as np
from numpy.typing import NDArray

SCALES = (1, 2, 4, 8, 16, 32)
MIDDLE, DEVIATION = 128, 51
"""Levels of the mean, and of one standard deviation: 0 and 255 are two and a half away."""


def generate_images(count: int, *, px: int, channels: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Standardised images with edges and textures.

    Args:
        count: N.
        px: H and W, a multiple of 32.
        channels: C.
        rng: Every draw.

    Returns:
        (N, H, W, C), levels in [0, 255].
    """
    return np.stack([_standardised(_image(px, channels, rng)) for _ in range(count)])


def _image(px: int, channels: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Squares of all sizes at any place, the larger the stronger; channels differ a little, as in pictures."""
    image = np.zeros((px, px, channels), dtype=np.int64)
    for scale in SCALES:
        grid = (px // scale, px // scale)
        squares = 4 * rng.integers(-128, 128, (*grid, 1)) + rng.integers(-128, 128, (*grid, channels))
        layer = squares.repeat(scale, axis=0).repeat(scale, axis=1)
        image += scale * np.roll(layer, tuple(rng.integers(0, scale, 2)), axis=(0, 1))
    return image


def _standardised(image: NDArray[np.int64]) -> NDArray[np.int64]:
    count, total, squares = image.size, int(image.sum()), int((image**2).sum())
    deviation = sqrt(count * squares - total**2)  # times count
    levels = np.rint((image * count - total) * (DEVIATION / deviation)) + MIDDLE
    return np.asarray(levels.clip(0, 255), dtype=np.int64)
