"""Weather and light."""

import torch
from torch import Tensor

from fedward_models.corruptions.geometry import clouds, motion_blurred, scaled, zoomed

# Mean and deviation of flakes, their size, the threshold, radius and deviation of their fall, what stays of the image.
SNOW = (
    (0.1, 0.3, 3.0, 0.5, 10.0, 4.0, 0.8),
    (0.2, 0.3, 2.0, 0.5, 12.0, 4.0, 0.7),
    (0.55, 0.3, 4.0, 0.9, 12.0, 8.0, 0.7),
    (0.55, 0.3, 4.5, 0.85, 12.0, 8.0, 0.65),
    (0.55, 0.3, 2.5, 0.85, 12.0, 12.0, 0.55),
)
FROST = ((1.0, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75))  # weights of the image and of the frost
FOG = ((1.5, 2.0), (2.0, 2.0), (2.5, 1.7), (2.5, 1.5), (3.0, 1.4))  # strength, decay of detail
BRIGHTNESS = (0.1, 0.2, 0.3, 0.4, 0.5)


def snow(pixels: Tensor, severity: int, rng: torch.Generator) -> Tensor:
    """Flakes that fall steeply, over a paler image."""
    mean, deviation, size, threshold, radius, sigma, stays = SNOW[severity - 1]
    batch, _, height, width = pixels.shape
    flakes = zoomed(mean + deviation * torch.randn(batch, 1, height, width, generator=rng), size)
    flakes = flakes.masked_fill(flakes < threshold, 0).clamp(0, 1)
    degrees = -135 + 90 * torch.rand(batch, generator=rng)
    lengths = (scaled(length, pixels) for length in (radius, sigma))
    flakes = motion_blurred(flakes, radius=next(lengths), sigma=next(lengths), degrees=degrees)
    grey = pixels.mean(dim=1, keepdim=True)
    paler = stays * pixels + (1 - stays) * torch.maximum(pixels, 1.5 * grey + 0.5)
    return paler + flakes + flakes.rot90(2, dims=(2, 3))


def frost(pixels: Tensor, severity: int, rng: torch.Generator) -> Tensor:
    """Crystals on the lens. Differs: ridges of a random field, where ImageNet-C overlays photographs of frost."""
    of_image, of_frost = FROST[severity - 1]
    field = clouds(len(pixels), _size(pixels), decay=1.7, rng=rng)
    return of_image * pixels + of_frost * (1 - (2 * field - 1).abs()) ** 3


def fog(pixels: Tensor, severity: int, rng: torch.Generator) -> Tensor:
    """Clouds in front of the image, dimmed to its range."""
    strength, decay = FOG[severity - 1]
    brightest = pixels.amax(dim=(1, 2, 3), keepdim=True)
    veiled = pixels + strength * clouds(len(pixels), _size(pixels), decay=decay, rng=rng)
    return veiled * brightest / (brightest + strength)


def brightness(pixels: Tensor, severity: int, rng: torch.Generator) -> Tensor:  # noqa: ARG001 - the family's signature
    """More light: the value of hue, saturation and value rises, for grey images the grey."""
    value = pixels.amax(dim=1, keepdim=True)
    brighter = (value + BRIGHTNESS[severity - 1]).clamp(0, 1)
    return torch.where(value > 0, pixels * brighter / value.clamp(min=1e-6), brighter)


def _size(pixels: Tensor) -> tuple[int, int]:
    return pixels.shape[2], pixels.shape[3]
