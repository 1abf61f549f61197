"""Blur of lenses, glass and motion. Lengths are in pixels of images of 224 pixels."""

import math

import numpy as np
import torch
from torch import Tensor

from fedward_models.corruptions.geometry import filtered, gaussian_blurred, motion_blurred, moved, scaled, zoomed

DEFOCUS = (3.0, 4.0, 6.0, 8.0, 10.0)  # radii of the disk
GLASS = ((0.7, 1, 2), (0.9, 2, 1), (1.0, 2, 3), (1.1, 3, 2), (1.5, 4, 2))  # deviation, reach, repeats
MOTION = ((10.0, 3.0), (15.0, 5.0), (15.0, 8.0), (15.0, 12.0), (20.0, 15.0))  # radius, deviation
ZOOM = ((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03))  # largest factor, step


def defocus_blur(pixels: Tensor, severity: int, rng: torch.Generator) -> Tensor:  # noqa: ARG001 - the family's signature
    """A point becomes a disk, with a soft border of half a pixel."""
    radius = max(scaled(DEFOCUS[severity - 1], pixels), 0.5)
    reach = math.ceil(radius)
    places = torch.arange(-reach, reach + 1, dtype=torch.float32)
    distance = torch.hypot(places[:, None], places[None])
    disk = (radius + 0.5 - distance).clamp(0, 1)
    return filtered(pixels, disk / disk.sum())


def glass_blur(pixels: Tensor, severity: int, rng: torch.Generator) -> Tensor:
    """Pixels seen through frosted glass. Differs: each takes a neighbour's value, where they are swapped one by one."""
    sigma, reach, repeats = GLASS[severity - 1]
    deviation, most = scaled(sigma, pixels), max(round(scaled(reach, pixels)), 1)
    blurred = gaussian_blurred(pixels, deviation)
    shape = (len(pixels), *pixels.shape[2:])
    for _ in range(repeats):
        rows, columns = (torch.randint(-most, most + 1, shape, generator=rng) for _ in range(2))
        blurred = moved(blurred, rows, columns)
    return gaussian_blurred(blurred, deviation)


def motion_blur(pixels: Tensor, severity: int, rng: torch.Generator) -> Tensor:
    """The camera moves, up to 45 degrees off the horizontal."""
    radius, sigma = (scaled(length, pixels) for length in MOTION[severity - 1])
    degrees = 90 * torch.rand(len(pixels), generator=rng) - 45
    return motion_blurred(pixels, radius=radius, sigma=sigma, degrees=degrees)


def zoom_blur(pixels: Tensor, severity: int, rng: torch.Generator) -> Tensor:  # noqa: ARG001 - the family's signature
    """The camera comes nearer: the mean of the image and its enlargements."""
    largest, step = ZOOM[severity - 1]
    factors = np.arange(1, largest, step).tolist()
    return (pixels + sum(zoomed(pixels, factor) for factor in factors)) / (len(factors) + 1)
