"""Diversity of inputs: training images are changed at random before the prompt is put around them (EVP, Sec. 3).

The paper borrows the idea from attacks that transfer between networks; its released code mirrors and crops, and earlier
scripts of its authors take RandAugment.

Letters: B batch, C channel, H height, W width.
"""

from dataclasses import replace

import torch
from torch import Tensor

from fedward_models.batch import Batch
from fedward_models.building import seeded
from fedward_models.data.batches.views import with_view
from fedward_models.methods.evp.config import EVPConfig, Policy


def diversified(batch: Batch, config: EVPConfig, rng: torch.Generator) -> Batch:
    """Change each image as the settings say; a batch without such settings is given back as it is."""
    if config.policy is not None:
        batch = replace(batch, images=_by_policy(batch, config.policy, rng))
    return with_view(batch, config.view, rng)


def _by_policy(batch: Batch, policy: Policy, rng: torch.Generator) -> Tensor:
    """(B, C, H, W), standardised as before. The policies draw from the global generator, which is put back."""
    from torchvision.transforms import InterpolationMode, RandAugment, TrivialAugmentWide  # noqa: PLC0415 - slow

    chosen = {"rand": RandAugment, "trivial": TrivialAugmentWide}[policy]
    change = chosen(interpolation=InterpolationMode.BILINEAR)
    levels = (batch.pixels.clamp(0, 1) * 255).round().to(torch.uint8)
    with seeded(int(torch.randint(2**31, (), generator=rng))):
        changed = torch.stack([change(image) for image in levels])
    return batch.standardised(changed.to(batch.images.dtype) / 255)
