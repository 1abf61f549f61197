"""What processing, storage and transmission do."""

from io import BytesIO

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from fedward_core.arrays import Array
from fedward_core.errors import SpecError
from fedward_models.corruptions.geometry import gaussian_blurred, moved, scaled

CONTRAST = (0.4, 0.3, 0.2, 0.1, 0.05)
# Strength and deviation of the displacement, and the jitter of the corners, in sides of the image.
ELASTIC = ((2.0, 0.7, 0.1), (2.0, 0.08, 0.2), (0.05, 0.01, 0.02), (0.07, 0.01, 0.02), (0.12, 0.01, 0.02))
PIXELATE = (0.6, 0.5, 0.4, 0.3, 0.25)
JPEG = (25, 18, 15, 10, 7)  # qualities
_REFERENCE_PX = 224


def contrast(pixels: Tensor, severity: int, rng: torch.Generator) -> Tensor:  # noqa: ARG001 - the family's signature
    """Each channel is drawn towards its mean."""
    mean = pixels.mean(dim=(2, 3), keepdim=True)
    return mean + CONTRAST[severity - 1] * (pixels - mean)


def elastic_transform(pixels: Tensor, severity: int, rng: torch.Generator) -> Tensor:
    """An affine map of jittered corners, and a smooth random displacement."""
    strength, sigma, jitter = (scaled(_REFERENCE_PX * part, pixels) for part in ELASTIC[severity - 1])
    batch, _, height, width = pixels.shape
    noise = 2 * torch.rand(batch, 2, height, width, generator=rng) - 1
    smooth = strength * gaussian_blurred(noise, min(sigma, min(height, width) / 3))
    corners = jitter * (2 * torch.rand(batch, 2, 3, generator=rng) - 1)
    down, right = torch.linspace(0, 1, height)[:, None], torch.linspace(0, 1, width)[None]
    first, second, third = (corners[:, :, index, None, None] for index in range(3))
    affine = first + (second - first) * right + (third - first) * down
    rows, columns = (smooth + affine).unbind(dim=1)
    return moved(pixels, rows, columns)


def pixelate(pixels: Tensor, severity: int, rng: torch.Generator) -> Tensor:  # noqa: ARG001 - the family's signature
    """Fewer pixels, each a square of one value."""
    size = [max(int(PIXELATE[severity - 1] * side), 1) for side in pixels.shape[2:]]
    return functional.interpolate(functional.interpolate(pixels, size=size, mode="area"), size=pixels.shape[2:])


def jpeg_compression(pixels: Tensor, severity: int, rng: torch.Generator) -> Tensor:  # noqa: ARG001 - the family's signature
    """Encoded and decoded as JPEG.

    Raises:
        SpecError: The images are neither grey nor of three colours.
    """
    if pixels.shape[1] not in (1, 3):
        raise SpecError(f"JPEG knows images of 1 or 3 channels, found {pixels.shape[1]}: leave jpeg_compression out")
    levels = (255 * pixels.clamp(0, 1)).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    grey = pixels.shape[1] == 1
    decoded = np.stack([_through_jpeg(image[..., 0] if grey else image, JPEG[severity - 1]) for image in levels])
    return torch.from_numpy(decoded).to(pixels.dtype).reshape(*decoded.shape[:3], -1).permute(0, 3, 1, 2) / 255


def _through_jpeg(image: Array, quality: int) -> Array:
    file = BytesIO()
    Image.fromarray(image).save(file, format="JPEG", quality=quality)
    return np.asarray(Image.open(file))
