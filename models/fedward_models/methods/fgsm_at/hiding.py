"""The trick of hidden pixels: which are drawn, and what is shown in their place."""

from dataclasses import replace

import torch
from torch import Tensor

from fedward_core.errors import SpecError
from fedward_models.batch import Batch
from fedward_models.layers.pixel_mask import checkerboard_kept, random_kept
from fedward_models.methods.fgsm_at.config import FGSMATConfig


def check_squares(config: FGSMATConfig, *, side_px: int) -> None:
    """Make sure that a square hides a part of an image, and not all of it.

    Args:
        config: The method's settings.
        side_px: The longer side of the images.

    Raises:
        SpecError: One square covers a whole image.
    """
    if config.mask_ratio and config.mask_px >= side_px:
        raise SpecError(
            f"mask_px is {config.mask_px} and images have {side_px} pixels a side, so that whole images or none "
            f"would be hidden: set it to less than {side_px}, or mask_ratio to 0"
        )


def draw_kept(config: FGSMATConfig, batch: Batch, rng: torch.Generator) -> Tensor:
    """Which pixels stay visible: (B, 1, H, W), bool; slices of a volume and frames of a clip share it: (B, 1, 1, H, W).

    Args:
        config: Mode, ratio and size of the squares.
        batch: The images, for their number and size.
        rng: A CPU generator; the fixed mask and the grid draw nothing from it.

    Raises:
        SpecError: As of :func:`check_squares`.
    """
    count, (height, width) = len(batch), batch.images.shape[-2:]
    check_squares(config, side_px=max(height, width))
    if config.mask_mode == "fixed":
        rng = torch.Generator().manual_seed(config.mask_seed)
    if config.mask_mode == "grid":
        kept = checkerboard_kept((1, height, width), square_px=config.mask_px)
    else:
        drawn = count if config.mask_mode == "random" else 1
        kept = random_kept((drawn, height, width), ratio=config.mask_ratio, square_px=config.mask_px, rng=rng)
    between = [1] * (batch.images.ndim - 4)
    return kept.expand(count, 1, height, width).reshape(count, 1, *between, height, width)


def with_hidden_pixels(config: FGSMATConfig, batch: Batch) -> Batch:
    """The batch as training shows it; itself where nothing was drawn."""
    if "kept" not in batch.drawn:
        return batch
    value = -batch.mean / batch.std if config.mask_value == "black" else 0.0
    return replace(batch, images=batch.images.masked_fill(~batch.drawn["kept"], value))
