"""Noise of sensors and of transmission."""

import torch
from torch import Tensor

GAUSSIAN = (0.08, 0.12, 0.18, 0.26, 0.38)  # deviations
SHOT = (60.0, 25.0, 12.0, 5.0, 3.0)  # photons of a white pixel
IMPULSE = (0.03, 0.06, 0.09, 0.17, 0.27)  # the part of the values that are lost


def gaussian_noise(pixels: Tensor, severity: int, rng: torch.Generator) -> Tensor:
    """Normal noise, independent of the image."""
    return pixels + GAUSSIAN[severity - 1] * torch.randn(pixels.shape, generator=rng)


def shot_noise(pixels: Tensor, severity: int, rng: torch.Generator) -> Tensor:
    """As many photons as light lets fall."""
    photons = SHOT[severity - 1]
    return torch.poisson(pixels * photons, generator=rng) / photons


def impulse_noise(pixels: Tensor, severity: int, rng: torch.Generator) -> Tensor:
    """Values that are lost: half of them black, half white."""
    amount, chance = IMPULSE[severity - 1], torch.rand(pixels.shape, generator=rng)
    return pixels.masked_fill(chance < amount / 2, 0).masked_fill(chance > 1 - amount / 2, 1)
