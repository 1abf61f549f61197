"""From features of places to a class for every pixel.

    progressive   one coarse map -> [convolve, double the side] until the image's side -> classes
    unet          maps of a pyramid, from coarse to fine: [double, join with the finer one, convolve] -> classes

Papers: S. Zheng et al., "Rethinking Semantic Segmentation from a Sequence-to-Sequence Perspective with Transformers"
(SETR, its progressive upsampling), CVPR 2021, https://arxiv.org/abs/2012.15840; O. Ronneberger, P. Fischer, T. Brox,
"U-Net", MICCAI 2015, https://arxiv.org/abs/1505.04597. MGCA takes the first on its transformer and the second on its
residual network.

Letters: B batch, E features, h and w sides of a map, K classes.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional


class ProgressiveDecoder(nn.Module):
    """Doubles the side of one map step by step, and halves its channels (MGCA: 512, 256, 128, 64).

    Args:
        features: E.
        classes: K.
        width: Channels of the first step.
        steps: How often the side is doubled; 4 from 14 to 224 in MGCA.
    """

    def __init__(self, features: int, classes: int, *, width: int, steps: int) -> None:
        super().__init__()
        widths = halving(width, steps)
        self.mix = nn.Conv2d(features, features, 1)  # one linear map at every place
        self.steps = nn.Sequential(*(_doubling(*pair) for pair in zip((features, *widths), widths, strict=False)))
        self.classes = nn.Conv2d(widths[-1] if widths else features, classes, 3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        """(B, E, h, w) to (B, K, h * 2^steps, w * 2^steps)."""
        logits: Tensor = self.classes(self.steps(self.mix(features)))
        return logits


class UNetDecoder(nn.Module):
    """Joins the maps of a pyramid from coarse to fine (MGCA: 256, 128, 64, 32, 16 channels).

    MONAI's decoder takes maps only whose sides halve without a rest; those of enlarged images do not.

    Args:
        widths: Channels of each map, the finest first.
        classes: K.
        width: Channels of the first, coarsest step.
    """

    def __init__(self, widths: Sequence[int], classes: int, *, width: int) -> None:
        super().__init__()
        coarsest, *finer = reversed(widths)
        steps = halving(width, len(widths))
        inputs = (up + skip for up, skip in zip((coarsest, *steps[:-1]), (*finer, 0), strict=True))
        self.steps = nn.ModuleList(_joining(*pair) for pair in zip(inputs, steps, strict=True))
        self.classes = nn.Conv2d(steps[-1], classes, 3, padding=1)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps, the finest first, to (B, K, 2h, 2w), where h and w are the sides of the finest."""
        features, *finer = reversed(maps)
        for step, skip in zip(self.steps, finer, strict=False):
            features = step(torch.cat([functional.interpolate(features, size=skip.shape[2:]), skip], dim=1))
        logits: Tensor = self.classes(self.steps[-1](functional.interpolate(features, scale_factor=2.0)))
        return logits


def halving(width: int, steps: int) -> tuple[int, ...]:
    """A width and its halves, never below one."""
    return tuple(max(width // 2**step, 1) for step in range(steps))


def _doubling(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
        nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False),
    )


def _joining(inputs: int, outputs: int) -> nn.Sequential:
    def convolved(width: int) -> tuple[nn.Module, ...]:
        return nn.Conv2d(width, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()

    return nn.Sequential(*convolved(inputs), *convolved(outputs))
