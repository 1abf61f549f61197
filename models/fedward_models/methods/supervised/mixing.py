"""Mixing the images of a batch in pairs, targets along with them: Mixup and CutMix.

As in: image i is mixed with image B-1-i, with one weight for the whole batch (timm's Mixup, which SSL-FL uses).

Letters: B batch, C channel, H height, W width, K classes.
"""

from math import sqrt

import numpy as np
import torch
from torch import Tensor


def mix(images: Tensor, targets: Tensor, rng: torch.Generator, *, mixup: float, cutmix: float) -> tuple[Tensor, Tensor]:
    """Mix a batch by one of the two; with both on, a coin decides.

    Args:
        images: (B, C, H, W).
        targets: (B, K), float.
        rng: A CPU generator.
        mixup: The concentration of Beta(a, a) from which Mixup's weight comes; 0 for no Mixup.
        cutmix: The same for the area that CutMix leaves; 0 for no CutMix. Not both are 0.

    Returns:
        Images and targets of the same shapes.
    """
    # torch draws no Beta from a generator of one's own; numpy does.
    draw = np.random.default_rng(int(torch.randint(2**62, (), generator=rng)))
    if cutmix and not (mixup and draw.random() < 0.5):
        images, own = paste_box(images, weight=draw.beta(cutmix, cutmix), centre=(draw.random(), draw.random()))
    else:
        own = draw.beta(mixup, mixup)
        images = own * images + (1 - own) * images.flip(0)
    return images, own * targets + (1 - own) * targets.flip(0)


def paste_box(images: Tensor, *, weight: float, centre: tuple[float, float]) -> tuple[Tensor, float]:
    """Paste a box of each image's partner into it (CutMix, Yun et al., ICCV 2019, Eq. 2).

    Args:
        images: (B, C, H, W).
        weight: The part of the area that stays the image's own, before the box is cut at the border.
        centre: The box's centre, row and column, in [0, 1).

    Returns:
        Images of the same shape, and the part of the area that is truly the image's own.
    """
    rows, columns = (
        _interval(size, sqrt(1 - weight), place) for size, place in zip(images.shape[2:], centre, strict=True)
    )
    mixed = images.clone()
    mixed[:, :, rows, columns] = images.flip(0)[:, :, rows, columns]
    pasted = (rows.stop - rows.start) * (columns.stop - columns.start)
    return mixed, 1 - pasted / (images.shape[2] * images.shape[3])


def _interval(size: int, part: float, place: float) -> slice:
    half, middle = int(size * part) // 2, int(size * place)
    return slice(max(middle - half, 0), min(middle + half, size))
