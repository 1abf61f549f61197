"""Mixing the images of a batch in pairs, with a weight for each image.

    own image  +-----------+      partner  +-----------+      resizemix  +-----------+     cutmix  +-----------+
               | a a a a a |               | B B B B B |                 | a a a a a |             | a a a a a |
               | a a a a a |               | B B C B B |                 | a [BCB] a |             | a [BCB] a |
               | a a a a a |               | B B B B B |                 | a a a a a |             | a a a a a |
               +-----------+               +-----------+     all of it, shrunk ^     its own place ^

Image i is mixed with image B-1-i. Both views of an image have one weight, and boxes of their own.

Differs: the released code mixes nothing, for a test that never holds; a box is pasted exactly as large as its weight
says, and its place is drawn among all that lie inside the image.

Letters: B batch, C channel, H height, W width.
"""

from math import floor, sqrt
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

LEAST, MOST = 0.1, 0.9
"""Between these lies what is drawn as an image's own share (SDMP, released code)."""

Operation = Literal["mixup", "cutmix", "resizemix"]


def draw_shares(batch: int, rng: torch.Generator) -> Tensor:
    """(B,) shares of the own image: Beta(1, 1), which is uniform, moved into [0.1, 0.9]."""
    return LEAST + (MOST - LEAST) * torch.rand(batch, generator=rng)


def draw_boxes(shares: Tensor, rng: torch.Generator, *, height: int, width: int) -> Tensor:
    """Boxes for the partner, whole inside the image.

    Args:
        shares: (B,) drawn shares.
        rng: A CPU generator.
        height: H.
        width: W.

    Returns:
        (B, 4) integers: top, bottom, left, right; lower bounds belong to the box, upper ones do not.
    """
    sides = torch.tensor([[floor(size * sqrt(1 - share)) for size in (height, width)] for share in shares.tolist()])
    free = torch.tensor([height, width]) - sides
    start = (torch.rand(len(shares), 2, generator=rng) * (free + 1)).long().minimum(free)
    top, left = start.unbind(dim=1)
    return torch.stack([top, top + sides[:, 0], left, left + sides[:, 1]], dim=1)


def shares_outside(boxes: Tensor, *, height: int, width: int) -> Tensor:
    """(B,) the part of the image that a box leaves: the effective weight of the own image."""
    area = (boxes[:, 1] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 2])
    return 1 - area / (height * width)


def mix(images: Tensor, operation: Operation, *, shares: Tensor, boxes: Tensor) -> Tensor:
    """Mix each image with its partner.

    Args:
        images: (B, C, H, W).
        operation: How.
        shares: (B,) the own image's part; read by ``mixup``.
        boxes: (B, 4) as :func:`draw_boxes` gives them; read by the other two.

    Returns:
        (B, C, H, W).
    """
    partners = images.flip(0)
    if operation == "mixup":
        weight = shares.to(images).view(-1, 1, 1, 1)
        return weight * images + (1 - weight) * partners
    mixed = images.clone()
    for image, partner, (top, bottom, left, right) in zip(mixed, partners, boxes.tolist(), strict=True):
        if top < bottom and left < right:
            box = slice(top, bottom), slice(left, right)
            image[:, *box] = (
                _shrunk(partner, bottom - top, right - left) if operation == "resizemix" else partner[:, *box]
            )
    return mixed


def _shrunk(image: Tensor, height: int, width: int) -> Tensor:
    """(C, H, W) to a smaller one, bilinearly and without smoothing as in the released code."""
    return functional.interpolate(image[None], size=(height, width), mode="bilinear", align_corners=False)[0]
