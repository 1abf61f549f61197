"""BEiT's vision transformer: its counts, its twin in timm, its tables, and what it becomes for pre-training."""

from functools import partial
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from timm.models.beit import Beit
from torch import Tensor, nn

from fedward_core.errors import SpecError
from fedward_models.backbones.beit_vit.beit_vit import BEiTViT
from fedward_models.backbones.beit_vit.config import BEiTViTConfig

BEIT_B: dict[str, Any] = {"width": 768, "depth": 12, "heads": 12, "patch_px": 16}


def build(image_px: int = 32, channels: int = 3, **settings: Any) -> BEiTViT:
    config = BEiTViTConfig(**{"width": 24, "depth": 2, "heads": 3, "patch_px": 8, **settings})
    backbone = config.build(image_px=image_px, channels=channels)
    assert isinstance(backbone, BEiTViT)
    return backbone.eval()


def noisy(backbone: BEiTViT) -> BEiTViT:
    """Moved from its start, where norms, biases and tables could be left out unnoticed."""
    for parameter in backbone.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
    return backbone


@pytest.mark.parametrize(("num_classes", "published"), [(2, 85_763_522), (3, 85_764_291), (7, 85_767_367)])
def test_the_fine_tuned_network_has_the_published_number_of_parameters(num_classes: int, published: int) -> None:
    """SSL-FL, Sec. 2.3: with a head of 769 parameters for each class, and a table of 732 x 12 in each block."""
    with torch.device("meta"):
        backbone = build(224, **BEIT_B)
    block = dict(backbone.blocks[0].named_parameters())
    table = block.pop("attn.relative_position_bias_table")
    assert table.shape == (732, 12)
    assert sum(parameter.numel() for parameter in block.values()) == 7_088_640
    assert sum(p.numel() for p in backbone.parameters()) + 769 * num_classes == published


def test_timms_beit_with_the_same_weights_has_the_same_features() -> None:
    backbone = noisy(build())
    norm: Any = partial(nn.LayerNorm, eps=1e-6)
    twin = Beit(
        img_size=32,
        patch_size=8,
        embed_dim=24,
        depth=2,
        num_heads=3,
        num_classes=0,
        use_abs_pos_emb=False,
        use_rel_pos_bias=True,
        init_values=0.1,
        norm_layer=norm,
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


def test_an_encoder_has_one_table_that_every_block_reads() -> None:
    backbone = build()
    backbone.become_encoder(drop_path=0.0)
    tables = [name for name in backbone.state_dict() if "relative_position_bias_table" in name]
    assert tables == ["shared_positions.relative_position_bias_table"]
    tokens = torch.randn(1, 16, 24)
    for block in backbone.blocks:
        seen: list[Tensor] = []
        handle = block.register_forward_pre_hook(
            lambda _, args, kwargs, seen=seen: seen.append(kwargs["shared_rel_pos_bias"]), with_kwargs=True
        )
        backbone.encode(tokens)
        handle.remove()
        assert seen[0].shape == (1, 3, 17, 17)


def test_one_table_for_all_is_the_same_as_equal_tables_in_each() -> None:
    """What a transfer copies computes what it did before (SSL-FL, Sec. 9, check 6)."""
    encoder, backbone, images = build(), build(), torch.randn(2, 3, 32, 32)
    encoder.become_encoder(drop_path=0.0)
    noisy(encoder)
    state = encoder.state_dict()
    table = state.pop("shared_positions.relative_position_bias_table")
    assert set(backbone.clones.values()) == {"shared_positions.relative_position_bias_table"}
    backbone.load_state_dict({**state, **dict.fromkeys(backbone.clones, table)}, strict=False)
    torch.testing.assert_close(
        backbone.encode(backbone.embed(images)), encoder.encode(encoder.embed(images)), rtol=0, atol=1e-5
    )


def test_positions_start_at_zero_and_decide_once_they_are_trained() -> None:
    """Without absolute positions, only the tables tell one order of patches from another."""
    backbone, order = build(), torch.randperm(16)
    tokens = torch.randn(2, 16, 24)

    def shuffled_later() -> Tensor:
        return backbone.encode(tokens)[:, 1:][:, order]

    torch.testing.assert_close(backbone.encode(tokens[:, order])[:, 1:], shuffled_later())
    noisy(backbone)
    assert not torch.allclose(backbone.encode(tokens[:, order])[:, 1:], shuffled_later())


def test_the_first_state_is_cut_at_one_deviation_and_calm_in_depth() -> None:
    """SSL-FL, Sec. 2.2: deviation 0.02, and the last maps of block l over the root of 2l."""
    backbone = build(width=48, heads=3, depth=4)
    assert float(backbone.patch_embed.proj.weight.detach().abs().max()) <= 0.02
    for depth, block in enumerate(backbone.blocks, start=1):
        parameters = block.state_dict()
        for name in ("attn.proj.weight", "mlp.fc2.weight"):
            assert float(parameters[name].abs().max()) == pytest.approx(0.02 / (2 * depth) ** 0.5, rel=0.02)
        assert parameters["gamma_1"].tolist() == pytest.approx([0.1] * 48)
        assert not any(
            parameters[f"attn.{name}"].any() for name in ("q_bias", "v_bias", "relative_position_bias_table")
        )


def test_drop_path_rises_linearly_and_pre_training_has_a_rate_of_its_own() -> None:
    backbone = build(depth=3, drop_path=0.4)

    def rates() -> list[float]:
        return [getattr(block.drop_path2, "drop_prob", 0.0) for block in backbone.blocks]

    assert rates() == pytest.approx([0.0, 0.2, 0.4])
    backbone.become_encoder(drop_path=0.1)
    assert rates() == pytest.approx([0.0, 0.05, 0.1])


def test_layers_are_counted_as_in_ssl_fl() -> None:
    """Embeddings 0, block i is i + 1, norm and head 13 (SSL-FL, Sec. 5.2)."""
    with torch.device("meta"):
        backbone = build(224, **BEIT_B)
    layers = {name: backbone.layer_of(name) for name, _ in backbone.named_parameters()}
    assert {layers[name] for name in ("cls_token", "patch_embed.proj.weight")} == {0}
    assert [layers[f"blocks.{i}.attn.relative_position_bias_table"] for i in range(12)] == list(range(1, 13))
    assert layers["fc_norm.weight"] == backbone.num_layers() == 13


@pytest.mark.parametrize("part", ["attn", "mlp"])
def test_the_channels_of_a_group_are_where_it_says(part: str) -> None:
    """Masking a channel's activation equals zeroing its inputs in the layer above, and its outputs stop mattering."""
    backbone, images = noisy(build()), torch.randn(2, 3, 32, 32)
    group = next(group for group in backbone.channel_groups() if group.name == f"blocks.1.{part}")
    (above,), (activation,) = group.inputs, group.activations
    run = slice((group.channels - 1) * above.unit, group.channels * above.unit)

    def mask(tensor: Tensor) -> Tensor:
        tensor = tensor.clone()
        tensor[..., (group.channels - 1) * activation.unit : group.channels * activation.unit] = 0
        return tensor

    module = backbone.get_submodule(activation.module)
    if activation.before:
        hook = module.register_forward_pre_hook(lambda _, inputs: (mask(inputs[0]),))
    else:
        hook = module.register_forward_hook(lambda _, inputs, output: mask(output))
    masked = backbone(images)
    hook.remove()
    assert not torch.allclose(masked, backbone(images))
    state = backbone.state_dict()
    state[above.tensor][:, run] = 0  # the state's tensors are the network's own
    torch.testing.assert_close(backbone(images), masked)
    for axis in group.outputs:
        channels = state[axis.tensor].movedim(axis.dim, 0).unflatten(0, (axis.tiles, group.channels, axis.unit))
        channels[:, -1] += 1
    torch.testing.assert_close(backbone(images), masked)


def test_every_entry_of_a_block_that_belongs_to_a_head_is_named() -> None:
    group = build().channel_groups()[0]
    named = {axis.tensor.removeprefix("blocks.0.attn.") for axis in (*group.outputs, *group.inputs)}
    own = {name for name, _ in build().get_submodule("blocks.0.attn").named_parameters()}
    assert named == own - {"proj.bias"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"width": 32, "heads": 3}, "width 32 does not divide into 3 heads"),
        ({"layer_scale": 0}, "greater than 0"),
        ({"drop_path": 1.0}, "less than 1"),
        ({"layer_scael": 1}, "Did you mean 'layer_scale'"),
    ],
)
def test_settings_that_fit_no_network_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        BEiTViTConfig(**settings)


def test_a_patch_that_does_not_divide_the_image_is_refused() -> None:
    with pytest.raises(SpecError, match="do not divide"):
        build(image_px=28)
