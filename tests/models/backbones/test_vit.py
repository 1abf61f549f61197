"""The vision transformer: its counts, its twin in timm, and where it says that its channels are."""

from typing import Any

import pytest
import torch
from pydantic import ValidationError
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from fedward_core.errors import SpecError
from fedward_models.backbones.vit.config import ViTConfig
from fedward_models.backbones.vit.vit import ViT

VIT_B: dict[str, Any] = {"width": 768, "depth": 12, "heads": 12, "patch_px": 16}


def build(image_px: int = 32, channels: int = 3, **settings: Any) -> ViT:
    config = ViTConfig(**{"width": 24, "depth": 2, "heads": 3, "patch_px": 8, **settings})
    backbone = config.build(image_px=image_px, channels=channels)
    assert isinstance(backbone, ViT)
    return backbone.eval()


def noisy(backbone: ViT) -> ViT:
    """Moved from its start, where norms and biases could be left out unnoticed."""
    for parameter in backbone.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
    return backbone


def test_a_block_and_an_encoder_have_the_published_number_of_parameters() -> None:
    """SSL-FL, Sec. 2.3; without the head, the fine-tuned network is 769 parameters for each class smaller."""
    with torch.device("meta"):
        backbone = build(224, 3, **VIT_B)
    assert sum(p.numel() for p in backbone.blocks[0].parameters()) == 7_087_872
    assert sum(p.numel() for p in backbone.parameters()) == 85_800_194 - 2 * 769


def test_tokens_of_a_vit_b_have_the_published_shapes() -> None:
    with torch.device("meta"):
        backbone, images = build(224, 3, **VIT_B), torch.empty(2, 3, 224, 224)
        assert backbone.embed(images).shape == (2, 196, 768)
        assert backbone.encode(torch.empty(2, 78, 768)).shape == (2, 79, 768)
        assert backbone(images).shape == (2, 768)
        assert backbone.feature_map(images).shape == (2, 768, 14, 14)


def test_timms_vit_with_the_same_weights_has_the_same_features() -> None:
    backbone = noisy(build())
    twin = VisionTransformer(
        img_size=32, patch_size=8, embed_dim=24, depth=2, num_heads=3, num_classes=0, global_pool="avg", fc_norm=True
    ).eval()
    twin.load_state_dict(backbone.state_dict())
    images = torch.randn(3, 3, 32, 32)
    torch.testing.assert_close(backbone(images), twin(images))


def test_the_features_of_places_are_normed_tokens() -> None:
    backbone, images = noisy(build()), torch.randn(2, 3, 32, 32)
    places = backbone.feature_map(images)
    tokens = backbone.fc_norm(backbone.encode(backbone.embed(images)))
    assert places.shape == (2, 24, 4, 4)
    assert torch.equal(places[1, :, 2, 3], tokens[1, 1 + 2 * 4 + 3])


def test_the_class_token_and_the_order_of_patches_are_all_that_encode_adds() -> None:
    """Blocks treat tokens alike, so a shuffle of the patch tokens shuffles the result."""
    backbone = noisy(build())
    tokens, order = torch.randn(2, 5, 24), torch.tensor([3, 0, 4, 1, 2])
    torch.testing.assert_close(backbone.encode(tokens[:, order])[:, 1:], backbone.encode(tokens)[:, 1:][:, order])


def test_layers_are_counted_as_in_ssl_fl() -> None:
    """Embeddings 0, block i is i + 1, norm and head 13 in a ViT-B (SSL-FL, Sec. 5.2)."""
    with torch.device("meta"):
        backbone = build(224, 3, **VIT_B)
    layers = {name: backbone.layer_of(name) for name, _ in backbone.named_parameters()}
    assert {layers[name] for name in ("cls_token", "pos_embed", "patch_embed.proj.weight")} == {0}
    assert [layers[f"blocks.{i}.attn.qkv.weight"] for i in range(12)] == list(range(1, 13))
    assert layers["fc_norm.weight"] == backbone.num_layers() == 13


@pytest.mark.parametrize("part", ["attn", "mlp"])
@pytest.mark.parametrize("mlp_ratio", [4.0, 1.9])
def test_the_channels_of_a_group_are_where_it_says(part: str, mlp_ratio: float) -> None:
    """Masking a channel's activation equals zeroing its inputs in the layer above, and its outputs stop mattering."""
    backbone, images = noisy(build(mlp_ratio=mlp_ratio)), torch.randn(2, 3, 32, 32)
    group = next(group for group in backbone.channel_groups() if group.name == f"blocks.1.{part}")
    (above,), (activation,) = group.inputs, group.activations
    channel = group.channels - 1
    state = backbone.state_dict()
    run = slice(channel * above.unit, (channel + 1) * above.unit)

    def mask(tensor: Tensor) -> Tensor:
        assert tensor.shape[activation.dim] == group.channels * activation.unit
        tensor = tensor.clone()
        tensor[..., channel * activation.unit : (channel + 1) * activation.unit] = 0
        return tensor

    module = backbone.get_submodule(activation.module)
    if activation.before:
        hook = module.register_forward_pre_hook(lambda _, inputs: (mask(inputs[0]),))
    else:
        hook = module.register_forward_hook(lambda _, inputs, output: mask(output))
    masked = backbone(images)
    hook.remove()
    whole = backbone(images)
    assert not torch.allclose(masked, whole)

    assert state[above.tensor].shape[above.dim] == group.channels * above.unit
    state[above.tensor][:, run] = 0  # the state's tensors are the network's own
    torch.testing.assert_close(backbone(images), masked)
    for axis in group.outputs:
        rows = state[axis.tensor].unflatten(0, (axis.tiles, group.channels, axis.unit))
        rows[:, channel] += 1
    torch.testing.assert_close(backbone(images), masked)


def test_groups_name_heads_and_hidden_units_of_every_block() -> None:
    groups = build(depth=3).channel_groups()
    assert [(group.name, group.channels) for group in groups[:2]] == [("blocks.0.attn", 3), ("blocks.0.mlp", 96)]
    assert len(groups) == 6
    assert not any(group.feeds_head for group in groups)


def test_drop_path_rises_linearly_to_its_setting() -> None:
    rates = [getattr(block.drop_path2, "drop_prob", 0.0) for block in build(depth=3, drop_path=0.4).blocks]
    assert rates == pytest.approx([0.0, 0.2, 0.4])


def test_an_encoder_has_fixed_positions_and_skips_nothing() -> None:
    backbone = build(drop_path=0.5).train()
    backbone.become_encoder()
    tokens = torch.randn(2, 4, 24)
    assert torch.equal(backbone.encode(tokens), backbone.encode(tokens))
    assert not backbone.pos_embed.requires_grad
    assert not [name for name in backbone.state_dict() if name.startswith("fc_norm")]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"width": 32, "heads": 3}, "width 32 does not divide into 3 heads"),
        ({"width": 18, "heads": 3}, "width 18 is no multiple of 4"),
        ({"drop_path": 1.0}, "less than 1"),
        ({"pach_px": 8}, "Did you mean 'patch_px'"),
    ],
)
def test_settings_that_fit_no_network_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ViTConfig(**settings)


def test_a_patch_that_does_not_divide_the_image_is_refused() -> None:
    with pytest.raises(SpecError, match="do not divide"):
        build(image_px=28)
