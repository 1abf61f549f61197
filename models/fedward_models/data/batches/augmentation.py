"""Random changes of training images that leave the diagnosis as it is.

Decided here, small and fit for most 2-D images: each image is mirrored left to right with probability 1/2, moved by up
to a tenth of its side, and changed in contrast and brightness by up to a tenth. What moves in is black, or class 0.
"""

import numpy as np
import torch
from torch import Tensor

MAX_SHIFT = 0.1
MAX_CONTRAST = 0.1
MAX_BRIGHTNESS = 0.1


def augment(images: Tensor, labels: Tensor | None, rng: np.random.Generator) -> tuple[Tensor, Tensor | None]:
    """Change every image of a batch in its own way.

    Args:
        images: (B, C, H, W), float, in [0, 255]; all slices (B, C, D, H, W) or frames (B, C, T, H, W) change alike.
        labels: Masks, (B, H, W) or (B, D, H, W), move along; other labels stay as they are.
        rng: Every draw.
    """
    batch, *_, height, width = images.shape
    rows = _shifted(np.arange(height), rng, batch)
    columns = _shifted(np.arange(width), rng, batch)
    mirrored = rng.random(batch) < 0.5
    columns[mirrored] = columns[mirrored, ::-1]
    source, outside = _places(rows, columns, height, width)
    if labels is not None and labels.ndim > 2:
        labels = _moved(labels.reshape(batch, -1, height, width), source, outside).view_as(labels)
    planes = images.reshape(batch, -1, height, width)
    return _recontrasted(_moved(planes, source, outside), rng).view_as(images), labels


def _shifted(places: np.ndarray, rng: np.random.Generator, batch: int) -> np.ndarray:
    most = int(len(places) * MAX_SHIFT)
    return places + rng.integers(-most, most, size=(batch, 1), endpoint=True)


def _places(rows: np.ndarray, columns: np.ndarray, height: int, width: int) -> tuple[Tensor, Tensor]:
    """(B, 1, H*W) place of the source of each pixel, and whether it lies outside the image."""
    inside_rows, inside_columns = rows.clip(0, height - 1), columns.clip(0, width - 1)
    source = inside_rows[:, :, None] * width + inside_columns[:, None, :]
    outside = (rows != inside_rows)[:, :, None] | (columns != inside_columns)[:, None, :]
    return torch.from_numpy(source).flatten(1)[:, None], torch.from_numpy(outside).flatten(1)[:, None]


def _moved(images: Tensor, source: Tensor, outside: Tensor) -> Tensor:
    flat = images.flatten(2)
    return flat.gather(2, source.expand_as(flat)).masked_fill_(outside, 0).view_as(images)


def _recontrasted(images: Tensor, rng: np.random.Generator) -> Tensor:
    def draw(most: float) -> Tensor:
        return torch.from_numpy(rng.uniform(-most, most, size=(len(images), 1, 1, 1)).astype(np.float32))

    centre = images.mean(dim=(1, 2, 3), keepdim=True)
    return (images - centre).mul_(1 + draw(MAX_CONTRAST)).add_(centre + 255 * draw(MAX_BRIGHTNESS)).clamp_(0, 255)
