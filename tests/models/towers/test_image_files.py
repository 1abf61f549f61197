"""Weights of image towers from files that others have written."""

import numpy as np
import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from fedward_core.errors import CheckpointError
from fedward_models.backbones.resnet.config import ResNetConfig
from fedward_models.backbones.vit.config import ViTConfig
from fedward_models.building import seeded
from fedward_models.towers.frozen_backbone import FrozenBackbone
from fedward_models.towers.image_file import load_backbone
from fedward_models.weights import arrays_of

TINY = ResNetConfig(width=2, depths=(1, 1, 1, 1))


def test_a_transformer_of_timm_becomes_the_image_tower() -> None:
    """DeiT as published, with its classifier and the norm of class and patch tokens."""
    with seeded(1):
        published = VisionTransformer(
            img_size=16, patch_size=8, embed_dim=16, depth=2, num_heads=2, num_classes=5
        ).eval()
        nn.init.normal_(published.get_parameter("norm.weight"))
    backbone = ViTConfig(width=16, depth=2, heads=2, patch_px=8).build(image_px=16, channels=3).eval()
    load_backbone(backbone, arrays_of(published), name="deit")
    images = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    tokens = backbone.fc_norm(backbone.encode(backbone.embed(images)))
    torch.testing.assert_close(tokens, published.forward_features(images), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("width", [384, 768])
def test_the_default_number_of_heads_is_not_taken_for_a_published_one(width: int) -> None:
    with torch.device("meta"):
        backbone = ViTConfig(width=width, depth=1).build(image_px=16, channels=3)
    with pytest.raises(CheckpointError, match=f"3 heads of {width // 3} channels are not those of 'deit'.*set heads"):
        load_backbone(backbone, {"cls_token": np.zeros((1, 1, width))}, name="deit")


@torch.no_grad()
def test_kernels_of_colours_give_for_grey_images_what_three_equal_channels_would() -> None:
    colour, grey = (TINY.build(image_px=32, channels=channels).eval() for channels in (3, 1))
    load_backbone(grey, arrays_of(colour) | {"fc.weight": np.zeros((5, 64)), "fc.bias": np.zeros(5)}, name="resnet")
    images = torch.randn(2, 1, 32, 32)
    torch.testing.assert_close(grey(images), colour(images.expand(-1, 3, -1, -1)), atol=1e-5, rtol=1e-5)


def test_a_file_of_another_network_is_named() -> None:
    backbone = TINY.build(image_px=32, channels=3)
    other = ResNetConfig(width=4, depths=(1, 1, 1, 1)).build(image_px=32, channels=3)
    with pytest.raises(CheckpointError, match="'theirs' do not fit the stage's backbone"):
        load_backbone(backbone, arrays_of(other), name="theirs")


def test_a_frozen_backbone_has_the_names_that_it_would_have_without() -> None:
    plain = TINY.build(image_px=32, channels=3)
    frozen = nn.ModuleDict({"backbone": FrozenBackbone(TINY.build(image_px=32, channels=3), inside=True)})
    state = {f"backbone.{name}": tensor.clone() for name, tensor in plain.state_dict().items()}
    assert list(frozen.state_dict()) == list(state)
    frozen.load_state_dict(state)
    assert all(torch.equal(tensor, state[name]) for name, tensor in frozen.state_dict().items())


def test_a_frozen_backbone_of_a_file_is_no_part_of_the_state_and_never_trains() -> None:
    frozen = FrozenBackbone(TINY.build(image_px=32, channels=3), inside=False)
    frozen.train()
    assert not frozen.state_dict()
    assert not any(module.training for module in frozen.network.modules())
    assert not any(parameter.requires_grad for parameter in frozen.network.parameters())
