"""From a frozen backbone to masks.

Letters: B batch, C channel, H height, W width, K classes.
"""

from math import ceil, log2
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from fedward_core.errors import SpecError
from fedward_models.backbones.backbone import Backbone
from fedward_models.backbones.resnet.resnet import ResNet
from fedward_models.layers.map_decoders import ProgressiveDecoder, UNetDecoder
from fedward_models.methods.probe.config import DecoderSettings

Kind = Literal["linear", "progressive", "unet"]


def kind_of(settings: DecoderSettings, backbone: Backbone) -> Kind:
    """Which decoder.

    Raises:
        SpecError: A U-Net on a backbone that has no pyramid of maps.
    """
    pyramid = isinstance(backbone, ResNet)
    if settings.kind == "unet" and not pyramid:
        raise SpecError("a U-Net joins maps of several sides, which only 'resnet' has: choose progressive or linear")
    return settings.kind or ("unet" if pyramid else "progressive")


def build_decoder(settings: DecoderSettings, backbone: Backbone, *, channels: int, classes: int) -> nn.Module:
    """The decoder that the settings name.

    Args:
        settings: Its form.
        backbone: Gives the maps.
        channels: Of the images.
        classes: K.
    """
    kind = kind_of(settings, backbone)
    if kind == "unet":
        assert isinstance(backbone, ResNet)
        return UNetDecoder(backbone.widths, classes, width=settings.width)
    if kind == "linear":
        return nn.Conv2d(backbone.num_features, classes, 1)
    side = _side(backbone, channels)
    steps = ceil(log2(backbone.image_px / side))
    return ProgressiveDecoder(backbone.num_features, classes, width=settings.width, steps=steps)


def read_maps(backbone: Backbone, images: Tensor, kind: Kind) -> Tensor | tuple[Tensor, ...]:
    """What the decoder reads."""
    if kind == "unet":
        assert isinstance(backbone, ResNet)
        return backbone.maps(images)
    return backbone.feature_map(images)


def resized(logits: Tensor, images: Tensor) -> Tensor:
    """(B, K, h, w) to (B, K, H, W), of the images' own size."""
    if logits.shape[2:] == images.shape[2:]:
        return logits
    return functional.interpolate(logits, size=images.shape[2:], mode="bilinear", align_corners=False)


@torch.no_grad()
def _side(backbone: Backbone, channels: int) -> int:
    """The side of the last map, as the backbone makes it."""
    blank = torch.zeros(1, channels, backbone.image_px, backbone.image_px)
    return backbone.feature_map(blank).shape[-1]
