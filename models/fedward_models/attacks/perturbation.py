"""Perturbations: where they start, and how they are kept small and within the image range.

Letters: B batch, C channel, H height, W width.
"""

from collections.abc import Iterator

import torch
from torch import Tensor


def within_image(pixels: Tensor, perturbation: Tensor) -> Tensor:
    """Cut a perturbation, (B, C, H, W), so that pixels in [0, 1] stay there."""
    return (pixels + perturbation).clamp(0, 1) - pixels


def signed_step(start: Tensor, gradient: Tensor, *, step: float, radius: float | None) -> Tensor:
    """Go a step along the sign of the gradient, and back into the ball; where the gradient is 0, stand still.

    Args:
        start: (B, C, H, W), the perturbation so far.
        gradient: (B, C, H, W).
        step: The step of every pixel.
        radius: Of the ball in the maximum norm; None for no ball.
    """
    moved = start + step * gradient.sign()
    return moved if radius is None else moved.clamp(-radius, radius)


def uniform_starts(pixels: Tensor, *, radius: float, restarts: int, rng: torch.Generator) -> Iterator[Tensor]:
    """Perturbations drawn uniformly from the ball, one for each restart.

    Args:
        pixels: (B, C, H, W), for shape and device.
        radius: Of the ball in the maximum norm.
        restarts: How many.
        rng: A CPU generator.
    """
    for _ in range(restarts):
        yield radius * (2 * torch.rand(pixels.shape, generator=rng, dtype=pixels.dtype) - 1).to(pixels.device)
