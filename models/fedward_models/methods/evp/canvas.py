"""Images on the canvas: how they are shrunk, and which part of them is kept.

Letters: B batch, C channel, H height, W width, s side of what is kept.
"""

import torch
from torch import Tensor
from torch.nn import functional

from fedward_core.errors import SpecError
from fedward_models.methods.evp.config import EVPConfig


def resized(pixels: Tensor, side_px: int) -> Tensor:
    """(B, C, H, W) in [0, 1] as squares, bicubic with antialiasing and again in [0, 1]; themselves if they are such."""
    if pixels.shape[-2:] == (side_px, side_px):
        return pixels
    return functional.interpolate(pixels, size=(side_px, side_px), mode="bicubic", antialias=True).clamp(0, 1)


def cropped(pixels: Tensor, corner: Tensor, side_px: int) -> Tensor:
    """A square of each image; every place has the same chance.

    Args:
        pixels: (B, C, H, H).
        corner: (B, 2) in [0, 1): where the squares begin, down and to the right, of the places that there are.
        side_px: s.

    Returns:
        (B, C, s, s).
    """
    room = pixels.shape[-1] - side_px + 1
    starts = (corner * room).long().tolist()
    return torch.stack(
        [image[:, y : y + side_px, x : x + side_px] for image, (y, x) in zip(pixels, starts, strict=True)]
    )


def check_crop(config: EVPConfig, free_px: int) -> None:
    """Make sure that crops leave something out.

    Raises:
        SpecError: They do not, or images are not shrunk at all.
    """
    if config.crop_from_px is None:
        return
    if config.placement == "overlay":
        raise SpecError("crop_from_px has no effect with placement 'overlay', which shrinks no image: leave it out")
    if config.crop_from_px <= free_px:
        raise SpecError(f"crop_from_px is {config.crop_from_px}, expected more than the {free_px} pixels that are kept")
