"""Mixing the images of a batch in pairs, targets along with them: Mixup and CutMix.

As in: image i is mixed with image B-1-i, with one weight for the whole batch (timm's Mixup, which SSL-FL uses).

Letters: B batch, C channel, D depth (or frames), H height, W width, K classes.
"""

from dataclasses import dataclass
from math import cbrt, prod, sqrt

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Mixing:
    """How batches are mixed.

    Attributes:
        mixup: The concentration of Beta(a, a) from which Mixup's weight comes; 0 for no Mixup.
        cutmix: The same for the part that CutMix leaves; 0 for no CutMix. Not both are 0.
        parts: The parts of all batches that Mixup and CutMix take; without them every batch is mixed, by a coin if both
            are on.
        columns: Whether CutMix's box in a volume reaches through all of its last axis.
    """

    mixup: float = 0.0
    cutmix: float = 0.0
    parts: tuple[float, float] | None = None
    columns: bool = False


def mix(images: Tensor, targets: Tensor, rng: torch.Generator, mixing: Mixing) -> tuple[Tensor, Tensor]:
    """Mix a batch by one of the two, or leave it.

    Args:
        images: (B, C, H, W) or (B, C, D, H, W); never changed in place.
        targets: (B, K), float.
        rng: A CPU generator.
        mixing: How.

    Returns:
        Images and targets of the same shapes.
    """
    # torch draws no Beta from a generator of one's own; numpy does.
    draw = np.random.default_rng(int(torch.randint(2**62, (), generator=rng)))
    match _kind(mixing, draw):
        case "cutmix":
            weight = draw.beta(mixing.cutmix, mixing.cutmix)
            axes = 2 if mixing.columns else images.ndim - 2
            images, own = paste_box(images, weight=weight, centre=tuple(draw.random() for _ in range(axes)))
        case "mixup":
            own = draw.beta(mixing.mixup, mixing.mixup)
            images = own * images + (1 - own) * images.flip(0)
        case _:
            own = 1.0
    return images, own * targets + (1 - own) * targets.flip(0)


def paste_box(images: Tensor, *, weight: float, centre: tuple[float, ...]) -> tuple[Tensor, float]:
    """Paste a box of each image's partner into it (CutMix, Yun et al., ICCV 2019, Eq. 2).

    Args:
        images: (B, C, H, W) or (B, C, D, H, W).
        weight: The part of the image that stays its own, before the box is cut at the border.
        centre: The box's centre along the first two or three axes, in [0, 1). An axis without a centre is pasted whole.

    Returns:
        Images of the same shape, and the part of the image that is truly its own.
    """
    root = {2: sqrt, 3: cbrt}[len(centre)]
    box = [_interval(size, root(1 - weight), place) for size, place in zip(images.shape[2:], centre, strict=False)]
    chosen = (slice(None), slice(None), *box)
    mixed = images.clone()
    mixed[chosen] = images.flip(0)[chosen]
    pasted = prod(part.stop - part.start for part in box)
    return mixed, 1 - pasted / prod(images.shape[2 : 2 + len(box)])


def _kind(mixing: Mixing, draw: np.random.Generator) -> str:
    if mixing.parts is None:
        return "cutmix" if mixing.cutmix and not (mixing.mixup and draw.random() < 0.5) else "mixup"
    place, (mixup, cutmix) = draw.random(), mixing.parts
    return "mixup" if place < mixup else "cutmix" if place < mixup + cutmix else "none"


def _interval(size: int, part: float, place: float) -> slice:
    half, middle = int(size * part) // 2, int(size * place)
    return slice(max(middle - half, 0), min(middle + half, size))
