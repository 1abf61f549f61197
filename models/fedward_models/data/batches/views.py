"""Random views of images: crop, mirror, change of colours, blur and solarisation, each image by its own draws.

Everything is drawn from the generator that is passed, and a whole batch is changed at once. Differs: torchvision draws
the order of the colour changes, here it is fixed; a crop is of any size, not of whole pixels; and hue is turned around
the grey axis of RGB, which keeps the mean of the channels.

Letters: B batch, C channel (1 or 3), H height, W width.
"""

from collections.abc import Sequence
from dataclasses import replace
from math import ceil, log, tau

import torch
from torch import Tensor
from torch.nn import functional

from fedward_models.batch import Batch
from fedward_models.data.batches.view_settings import Range, ViewSettings

LUMA = (0.299, 0.587, 0.114)  # how much red, green and blue count for brightness (ITU-R BT.601)


def with_view(batch: Batch, settings: ViewSettings | None, rng: torch.Generator) -> Batch:
    """A batch with one random view in the place of each image; without settings, the batch itself."""
    return batch if settings is None else replace(batch, images=draw_view(batch, settings, rng))


def draw_view(batch: Batch, settings: ViewSettings, rng: torch.Generator, *, size_px: int | None = None) -> Tensor:
    """One random view of each image of a batch; call it once for each view.

    Args:
        batch: Images (B, C, H, W), standardised as its mean and deviation say, with 1 or 3 channels.
        settings: How strong, how often.
        rng: A CPU generator.
        size_px: Height and width of the views; None for those of the images.

    Returns:
        (B, C, H, W), float, standardised in the same way.
    """
    size = batch.images.shape[2:] if size_px is None else (size_px, size_px)
    pixels = _crop(batch.pixels, settings, rng, size=size)
    changed = _jitter(pixels, settings, rng)
    pixels = torch.where(_chosen(pixels, settings.jitter, rng), changed, pixels)
    pixels = torch.where(_chosen(pixels, settings.grey, rng), _grey(pixels), pixels)
    pixels = torch.where(_chosen(pixels, settings.blur, rng), _blur(pixels, settings.blur_px, rng), pixels)
    pixels = torch.where(_chosen(pixels, settings.solarise, rng) & (pixels >= 0.5), 1 - pixels, pixels)
    return batch.standardised(pixels)


def _crop(pixels: Tensor, settings: ViewSettings, rng: torch.Generator, *, size: Sequence[int]) -> Tensor:
    """Cut a box out of each image, mirror it or not, stretch it to a size, and turn that."""
    area = _uniform(pixels, settings.crop_scale, rng)
    ratio = _uniform(pixels, (log(settings.crop_ratio[0]), log(settings.crop_ratio[1])), rng).exp()
    width, height = (area * ratio).sqrt().clamp(max=1), (area / ratio).sqrt().clamp(max=1)
    across, down = ((1 - side) * _uniform(pixels, (-1.0, 1.0), rng) for side in (width, height))
    mirror = 1 - 2 * _chosen(pixels, settings.flip, rng).flatten().float()
    angle = torch.deg2rad(settings.rotation_deg * _uniform(pixels, (-1.0, 1.0), rng))
    cosine, sine = angle.cos(), angle.sin()
    rows = (width * mirror * cosine, -width * mirror * sine, across, height * sine, height * cosine, down)
    places = functional.affine_grid(
        torch.stack(rows, dim=1).view(-1, 2, 3), [*pixels.shape[:2], *size], align_corners=False
    )
    return functional.grid_sample(pixels, places, padding_mode="border", align_corners=False)


def _jitter(pixels: Tensor, settings: ViewSettings, rng: torch.Generator) -> Tensor:
    def factor(strength: float) -> Tensor:
        return _uniform(pixels, (1 - strength, 1 + strength), rng).view(-1, 1, 1, 1)

    pixels = (pixels * factor(settings.brightness)).clamp(0, 1)
    centre = _grey(pixels).mean(dim=(1, 2, 3), keepdim=True)
    pixels = torch.lerp(centre.expand_as(pixels), pixels, factor(settings.contrast)).clamp(0, 1)
    pixels = torch.lerp(_grey(pixels), pixels, factor(settings.saturation)).clamp(0, 1)
    return _turn_hue(pixels, _uniform(pixels, (-settings.hue, settings.hue), rng))


def _grey(pixels: Tensor) -> Tensor:
    if pixels.shape[1] == 1:
        return pixels
    weights = torch.tensor(LUMA, device=pixels.device, dtype=pixels.dtype)
    return (pixels * weights.view(1, 3, 1, 1)).sum(dim=1, keepdim=True).expand_as(pixels)


def _turn_hue(pixels: Tensor, turns: Tensor) -> Tensor:
    """Turn colours around the grey axis, by Rodrigues' formula: every matrix is circulant."""
    if pixels.shape[1] == 1:
        return pixels
    cosine, sine = torch.cos(tau * turns), torch.sin(tau * turns)
    own, left, right = (1 + 2 * cosine) / 3, (1 - cosine) / 3 - sine / 3**0.5, (1 - cosine) / 3 + sine / 3**0.5
    matrix = torch.stack([own, left, right, right, own, left, left, right, own], dim=1).view(-1, 3, 3)
    return torch.einsum("bij,bjhw->bihw", matrix, pixels).clamp(0, 1)


def _blur(pixels: Tensor, width_px: Range, rng: torch.Generator) -> Tensor:
    """A Gaussian for each image, along rows and then along columns; edges are continued by mirroring."""
    batch, channels, height, widths = pixels.shape
    sigma = _uniform(pixels, width_px, rng).view(-1, 1)
    radius = min(ceil(3 * width_px[1]), height - 1, widths - 1)
    distance = torch.arange(-radius, radius + 1, device=pixels.device)
    kernel = torch.softmax(-((distance / sigma) ** 2) / 2, dim=1).repeat_interleave(channels, dim=0)
    planes = functional.pad(pixels.reshape(1, -1, height, widths), (radius,) * 4, mode="reflect")
    planes = functional.conv2d(planes, kernel[:, None, :, None], groups=batch * channels)
    planes = functional.conv2d(planes, kernel[:, None, None, :], groups=batch * channels)
    return planes.view_as(pixels)


def _uniform(pixels: Tensor, bounds: Range, rng: torch.Generator) -> Tensor:
    """(B,) draws between two bounds."""
    low, high = bounds
    return (low + (high - low) * torch.rand(len(pixels), generator=rng)).to(pixels)


def _chosen(pixels: Tensor, probability: float, rng: torch.Generator) -> Tensor:
    """(B, 1, 1, 1) coins."""
    return (torch.rand(len(pixels), generator=rng) < probability).view(-1, 1, 1, 1).to(pixels.device)
