"""From standardised images to pixels, where attacks work, and back."""

import torch
from torch import Tensor

from fedward_models.attacks.gradient import LogitsOf
from fedward_models.batch import Batch
from fedward_models.method import Method

# Standardising and back leaves a pixel that was black or white within this of 0 or 1.
_ROUNDING = 1e-6


def pixels_of(batch: Batch) -> Tensor:
    """The pixels of a batch, (B, C, H, W), in [0, 1]; black and white ones exactly 0 and 1."""
    pixels = batch.pixels
    snapped = torch.where(pixels < _ROUNDING, 0.0, torch.where(pixels > 1 - _ROUNDING, 1.0, pixels))
    return snapped.to(pixels.dtype)


def perturbed(batch: Batch, perturbation: Tensor) -> Tensor:
    """Standardised images, (B, C, H, W); where nothing is added they are the batch's own, bit for bit."""
    return batch.images + perturbation / batch.std


def classifier_of_pixels(method: Method, batch: Batch) -> LogitsOf:
    """The method's logits for pixels, standardised as the batch is."""
    return lambda pixels: method.logits(batch.standardised(pixels))
