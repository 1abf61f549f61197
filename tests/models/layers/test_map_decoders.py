"""Decoders of maps: their published sizes, and sides that do not halve without a rest."""

from itertools import pairwise

import pytest
import torch
from monai.networks.nets.flexible_unet import UNetDecoder as Reference
from torch import Tensor

from fedward_models.layers.map_decoders import ProgressiveDecoder, UNetDecoder, halving

RESNET_50 = (64, 256, 512, 1024, 2048)


def count(decoder: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in decoder.parameters())


def test_the_published_unet_has_as_many_parameters_as_that_of_monai() -> None:
    """Blocks of 256, 128, 64, 32 and 16 channels over ResNet-50: MONAI follows what MGCA takes."""
    with torch.device("meta"):
        reference = Reference(
            spatial_dims=2,
            encoder_channels=(3, *RESNET_50),
            decoder_channels=(256, 128, 64, 32, 16),
            act="relu",
            norm="batch",
            dropout=0.0,
            bias=False,
            upsample="nontrainable",
            pre_conv=None,
            interp_mode="nearest",
            align_corners=None,
            is_pad=True,
        )
        ours = UNetDecoder(RESNET_50, 1, width=256)
    assert count(ours) - count(ours.classes) == count(reference)


def test_the_published_progressive_decoder_goes_from_14_to_224_pixels() -> None:
    with torch.device("meta"):
        decoder = ProgressiveDecoder(768, 1, width=512, steps=4)
        logits = decoder(torch.zeros(2, 768, 14, 14))
    assert logits.shape == (2, 1, 224, 224)
    widths = (768, 512, 256, 128, 64)
    convolutions = sum(9 * a * b + 3 * b for a, b in pairwise(widths))  # with bias and batch norm
    assert count(decoder) == 768 * 768 + 768 + convolutions + 9 * 64 + 1


@pytest.mark.parametrize("sides", [(32, 16, 8, 4, 2), (150, 75, 38, 19, 10), (3, 2, 1)])
def test_maps_of_any_sides_are_joined(sides: tuple[int, ...]) -> None:
    widths = tuple(range(2, 2 + len(sides)))
    maps = [torch.randn(2, width, side, side) for width, side in zip(widths, sides, strict=True)]
    assert UNetDecoder(widths, 3, width=8)(maps).shape == (2, 3, 2 * sides[0], 2 * sides[0])


def test_every_map_has_a_say() -> None:
    maps = [torch.randn(2, width, side, side, requires_grad=True) for width, side in ((2, 8), (3, 4), (4, 2))]
    UNetDecoder((2, 3, 4), 2, width=8)(maps).square().sum().backward()
    grads: list[Tensor] = [each.grad for each in maps if each.grad is not None]
    assert len(grads) == 3
    assert all(bool(grad.count_nonzero()) for grad in grads)


def test_widths_halve_down_to_one() -> None:
    assert halving(5, 4) == (5, 2, 1, 1)
