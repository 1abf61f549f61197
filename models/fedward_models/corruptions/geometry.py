"""Moving and smoothing pixels.

Letters: B batch, C channel, H height, W width.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

_REFERENCE_PX = 224


def scaled(length: float, pixels: Tensor) -> float:
    """A length that is given for images of 224 pixels, in pixels of these."""
    return length * min(pixels.shape[2:]) / _REFERENCE_PX


def filtered(pixels: Tensor, kernel: Tensor) -> Tensor:
    """Each channel of (B, C, H, W) convolved with one odd (h, w) kernel; the border is continued."""
    height, width = kernel.shape
    padded = functional.pad(pixels, (width // 2, width // 2, height // 2, height // 2), mode="replicate")
    weight = kernel.to(pixels)[None, None].expand(pixels.shape[1], 1, height, width)
    return functional.conv2d(padded, weight, groups=pixels.shape[1])


def gaussian_blurred(pixels: Tensor, sigma: float) -> Tensor:
    """(B, C, H, W) blurred by a Gaussian of this deviation in pixels, cut at three deviations."""
    radius = max(math.ceil(3 * sigma), 1)
    line = torch.exp(-0.5 * (torch.arange(-radius, radius + 1) / max(sigma, 1e-3)) ** 2)
    line = line / line.sum()
    return filtered(filtered(pixels, line[:, None]), line[None])


def moved(pixels: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Each place takes what lies so many pixels below and to the right of it, interpolated; the border is continued.

    Args:
        pixels: (B, C, H, W).
        rows: Displacements downwards, (B, H, W) or what broadcasts to it.
        columns: Displacements to the right.
    """
    batch, _, height, width = pixels.shape
    y = torch.arange(height, dtype=pixels.dtype)[:, None] + rows
    x = torch.arange(width, dtype=pixels.dtype)[None] + columns
    across, down = (
        place.expand(batch, height, width) for place in (2 * (x + 0.5) / width - 1, 2 * (y + 0.5) / height - 1)
    )
    grid = torch.stack([across, down], dim=-1).to(pixels)
    return functional.grid_sample(pixels, grid, padding_mode="border", align_corners=False)


def motion_blurred(pixels: Tensor, *, radius: float, sigma: float, degrees: Tensor) -> Tensor:
    """Smeared along a line, with weights that fall off on both sides.

    Args:
        pixels: (B, C, H, W).
        radius: Half of the line, in pixels.
        sigma: The deviation of the weights, in pixels.
        degrees: (B,), the direction for each image, 0 to the right.
    """
    steps = torch.arange(-math.ceil(radius), math.ceil(radius) + 1)
    weights = torch.exp(-0.5 * (steps / max(sigma, 1e-3)) ** 2)
    weights = weights / weights.sum()
    down, right = (f(torch.deg2rad(degrees))[:, None, None] for f in (torch.sin, torch.cos))
    smeared = torch.zeros_like(pixels)
    for step, weight in zip(steps.tolist(), weights.tolist(), strict=True):
        smeared += weight * moved(pixels, step * down, step * right)
    return smeared


def zoomed(pixels: Tensor, factor: float) -> Tensor:
    """The middle of the images, enlarged to the whole of it."""
    height, width = pixels.shape[2:]
    inner = [max(math.ceil(size / factor), 1) for size in (height, width)]
    top, left = (height - inner[0]) // 2, (width - inner[1]) // 2
    middle = pixels[:, :, top : top + inner[0], left : left + inner[1]]
    return functional.interpolate(middle, size=(height, width), mode="bilinear", align_corners=False)


def clouds(batch: int, size: tuple[int, int], *, decay: float, rng: torch.Generator) -> Tensor:
    """Random fields with detail at every scale, each from 0 to 1: (B, 1, H, W).

    Each halving of the scale weakens the detail by ``decay``. Differs: octaves of smooth noise are added, where
    ImageNet-C divides squares.
    """
    field, cells, strength = torch.zeros(batch, 1, *size), 2, 1.0
    while cells <= 2 * max(size):
        noise = torch.rand(batch, 1, cells, cells, generator=rng)
        field += strength * functional.interpolate(noise, size=size, mode="bicubic", align_corners=True)
        cells, strength = 2 * cells, strength / decay
    low, high = field.amin(dim=(1, 2, 3), keepdim=True), field.amax(dim=(1, 2, 3), keepdim=True)
    return (field - low) / (high - low)
