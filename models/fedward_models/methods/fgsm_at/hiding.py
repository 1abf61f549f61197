"""The trick of hidden pixels: which are drawn, and what is shown in their place."""

from dataclasses import replace

import torch
from torch import Tensor

from fedward_models.layers.pixel_mask import checkerboard_kept, random_kept
from fedward_models.method import Batch
from fedward_models.methods.fgsm_at.config import FGSMATConfig


def draw_kept(config: FGSMATConfig, batch: Batch, rng: torch.Generator) -> Tensor:
    """Which pixels stay visible: (B, 1, H, W), bool.

    Args:
        config: Mode, ratio and size of the squares.
        batch: The images, for their number and size.
        rng: A CPU generator; the fixed mask and the grid draw nothing from it.
    """
    size, count = (batch.images.shape[2], batch.images.shape[3]), len(batch)
    if config.mask_mode == "grid":
        return checkerboard_kept((count, *size), square_px=config.mask_px)
    if config.mask_mode == "fixed":
        rng = torch.Generator().manual_seed(config.mask_seed)
    drawn = count if config.mask_mode == "random" else 1
    kept = random_kept((drawn, *size), ratio=config.mask_ratio, square_px=config.mask_px, rng=rng)
    return kept.expand(count, -1, -1, -1)


def with_hidden_pixels(config: FGSMATConfig, batch: Batch) -> Batch:
    """The batch as training shows it; itself where nothing was drawn."""
    if "kept" not in batch.drawn:
        return batch
    value = -batch.mean / batch.std if config.mask_value == "black" else 0.0
    return replace(batch, images=batch.images.masked_fill(~batch.drawn["kept"], value))
