"""MINiT and NiT: counts, places, locality, additivity, the twin in MONAI, and what input is refused."""

from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from fedward_core.aggregation.config import WeightedMeanConfig
from fedward_core.aggregation.weighted_mean import WeightedMean
from fedward_core.cards import Contract
from fedward_core.errors import DataError, SpecError
from fedward_core.manifest import Manifest
from fedward_core.spec import Schedule
from fedward_core.update import SHARED, Update
from fedward_models.backbones.minit.config import MINiTConfig, NiTConfig
from fedward_models.backbones.minit.minit import MINiT
from fedward_models.building import seeded
from fedward_models.data.splitting.splits import deal_splits
from fedward_models.layers.volume_blocks import cut_cubes, flat_patches, join_cubes
from fedward_models.layers.volume_encoder import VolumeEncoder
from fedward_models.methods.supervised.config import SupervisedConfig
from fedward_models.methods.supervised.supervised import Supervised
from fedward_models.step import Clock
from fedward_models.training.schedule import learning_rate

TINY = {"width": 16, "depth": 2, "heads": 4, "hidden": 20, "block_px": 8, "patch_px": 4}
VARIANTS: list[dict[str, Any]] = [
    {},
    {"block_embedding": "none"},
    {"block_embedding": "vector"},
    {"pooling": "mean"},
    {"pooling": "attention"},
    {"pooling": "transformer"},
    {"pool": "mean"},
    {"scores": 3},
]


def minit(*, volume_px: int = 16, channels: int = 1, classes: int = 2, **settings: Any) -> Supervised:
    config = MINiTConfig.model_validate({**TINY, **settings})
    return classifier(config, volume_px=volume_px, channels=channels, classes=classes)


def classifier(
    config: MINiTConfig | NiTConfig, *, volume_px: int = 16, channels: int = 1, classes: int = 2
) -> Supervised:
    """With a head that is not almost zero."""
    with seeded(0):
        backbone = config.build(image_px=volume_px, channels=channels)
        contract = Contract(classes=tuple(map(str, range(classes))), channels=channels)
        method: Supervised = SupervisedConfig().build(backbone=backbone, contract=contract)
        torch.nn.init.normal_(method.head.get_parameter("weight"))
    return method.eval()


def encoder_of(method: Supervised) -> VolumeEncoder:
    encoder = method.backbone.get_submodule("encoder")
    assert isinstance(encoder, VolumeEncoder)
    return encoder


def volumes(batch: int = 2, channels: int = 1, side: int = 16) -> Tensor:
    return torch.randn(batch, channels, side, side, side, generator=torch.Generator().manual_seed(1))


def count(method: Supervised) -> int:
    return sum(parameter.numel() for parameter in method.parameters())


def formula(size: int, config: MINiTConfig, channels: int, classes: int) -> int:
    """The specification's count, with C scores for each block."""
    blocks, patches = (size // config.block_px) ** 3, (config.block_px // config.patch_px) ** 3
    width, hidden, tokens = config.width, config.hidden, patches + 1
    layer = 4 * width + 3 * width**2 + width**2 + width + 2 * width * hidden + hidden + width
    embedding = (channels * config.patch_px**3 + 1) * width + tokens * width + width
    head = 2 * width + (width + 1) * classes + (blocks * classes + 1) * classes
    return embedding + config.depth * layer + head + blocks * tokens * width


def test_the_published_networks_have_their_counts() -> None:
    assert count(classifier(MINiTConfig(), volume_px=64)) == formula(64, MINiTConfig(), 1, 2) == 3_632_962
    assert count(classifier(NiTConfig(), volume_px=64)) == 1_798_826


def test_another_size_has_the_count_of_the_formula() -> None:
    config = MINiTConfig.model_validate({**TINY, "scores": 3})
    assert count(classifier(config, volume_px=24, channels=2, classes=3)) == formula(24, config, 2, 3)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("channels", [1, 2])
def test_every_step_has_its_shape(batch: int, channels: int) -> None:
    method = minit(channels=channels)
    backbone, given = method.backbone, volumes(batch, channels)
    assert isinstance(backbone, MINiT)
    blocks = cut_cubes(given, side_px=8).flatten(0, 1)
    assert blocks.shape == (batch * 8, channels, 8, 8, 8)
    assert flat_patches(blocks, patch_px=4).shape == (batch * 8, 8, channels * 64)
    tokens = backbone.tokens(given)
    assert tokens.shape == backbone.encoder.encode(tokens).shape == (batch * 8, 9, 16)
    assert backbone.block_scores(given).shape == (batch, 8, 2)
    assert backbone(given).shape == (batch, 16)
    assert method.logits(given).shape == (batch, 2)


@pytest.mark.parametrize("settings", VARIANTS, ids=str)
def test_every_variant_trains_all_that_it_has(settings: dict[str, Any]) -> None:
    method = minit(**settings)
    method.logits(volumes()).square().sum().backward()  # type: ignore[no-untyped-call]
    assert [n for n, p in method.named_parameters() if p.grad is None or not p.grad.count_nonzero()] == []


def test_blocks_patches_and_voxels_lie_as_specified_and_come_together_again() -> None:
    places = torch.arange(2 * 12**3, dtype=torch.float64).reshape(1, 2, 12, 12, 12)
    blocks = cut_cubes(places, side_px=4)
    assert torch.equal(join_cubes(blocks), places)
    patches = flat_patches(blocks.flatten(0, 1), patch_px=2).reshape(27, 8, 2, 2, 2, 2)
    for block in [(0, 0, 0), (0, 2, 1), (2, 1, 0)]:
        for patch in [(0, 0, 1), (1, 0, 0)]:
            for offset in [(0, 0, 0), (0, 1, 0), (1, 0, 1)]:
                x, y, z = (4 * b + 2 * p + o for b, p, o in zip(block, patch, offset, strict=True))
                number, within = (9 * block[0] + 3 * block[1] + block[2], 4 * patch[0] + 2 * patch[1] + patch[2])
                assert torch.equal(patches[number, within][offset], places[0, :, x, y, z])


def test_a_block_score_sees_its_own_block_only() -> None:
    method, given = minit(), volumes().requires_grad_()
    assert isinstance(method.backbone, MINiT)
    method.backbone.block_scores(given)[1, 5].sum().backward()  # type: ignore[no-untyped-call]
    assert given.grad is not None
    assert not given.grad[0].any()
    reached = cut_cubes(given.grad, side_px=8)[1].flatten(1).any(dim=1)
    assert reached.nonzero().flatten().tolist() == [5]


def test_moving_blocks_with_their_embeddings_and_weights_changes_nothing() -> None:
    method, order = minit(), torch.randperm(8, generator=torch.Generator().manual_seed(2))
    backbone, given = method.backbone, volumes()
    assert isinstance(backbone, MINiT)
    assert backbone.block_embedding is not None
    before = method.logits(given)
    moved = join_cubes(cut_cubes(given, side_px=8)[:, order])
    assert not torch.allclose(method.logits(moved), before, atol=1e-3)
    with torch.no_grad():
        backbone.block_embedding.copy_(backbone.block_embedding[order])
        weight = method.head.get_parameter("weight")
        weight.copy_(weight.reshape(2, 8, 2)[:, order].flatten(1))
    torch.testing.assert_close(method.logits(moved), before, atol=1e-5, rtol=0)


def test_without_embeddings_and_with_tied_weights_the_order_of_blocks_is_lost() -> None:
    method = minit(block_embedding="none", pooling="mean")
    moved = join_cubes(cut_cubes(volumes(), side_px=8).flip(1))
    torch.testing.assert_close(method.logits(moved), method.logits(volumes()), atol=1e-5, rtol=0)


def test_one_block_of_the_whole_volume_is_nit() -> None:
    method = minit(volume_px=16, block_px=16)
    nit = classifier(NiTConfig.model_validate({k: v for k, v in TINY.items() if k != "block_px"}))
    assert isinstance(method.backbone, MINiT)
    assert method.backbone.block_embedding is not None
    with torch.no_grad():
        method.backbone.block_embedding.zero_()
        method.head.get_parameter("weight").copy_(torch.eye(2))
        method.head.get_parameter("bias").zero_()
        state = {n: t for n, t in method.state_dict().items() if n.startswith(("backbone.encoder", "backbone.norm"))}
        head = {f"head.{part}": method.state_dict()[f"backbone.scores.{part}"] for part in ("weight", "bias")}
        nit.load_state_dict({**state, **head})
    torch.testing.assert_close(method.logits(volumes()), nit.logits(volumes()))


def test_nit_is_the_vision_transformer_of_monai() -> None:
    pytest.importorskip("einops", reason="MONAI builds its transformer with einops")
    from monai.networks.nets.vit import ViT  # noqa: PLC0415 - slow to import

    nit = classifier(NiTConfig.model_validate({k: v for k, v in TINY.items() if k != "block_px"}))
    twin = ViT(
        in_channels=1,
        img_size=(16, 16, 16),
        patch_size=(4, 4, 4),
        hidden_size=16,
        mlp_dim=20,
        num_layers=2,
        num_heads=4,
        proj_type="conv",
        classification=True,
        num_classes=2,
        post_activation="",
        qkv_bias=False,
    ).eval()
    missing, unexpected = twin.load_state_dict(_as_monai(nit), strict=False)
    assert not unexpected
    assert all("cross_attn" in name for name in missing)  # norms that MONAI allocates and does not use
    torch.testing.assert_close(nit.logits(volumes()), twin(volumes())[0], atol=1e-6, rtol=0)


def _as_monai(nit: Supervised) -> dict[str, Tensor]:
    state = {name.removeprefix("backbone."): array for name, array in nit.state_dict().items()}
    renamed = {
        "cls_token": state["encoder.class_token"] + state["encoder.positions"][:, :1],
        "patch_embedding.position_embeddings": state["encoder.positions"][:, 1:],
    }
    # A linear map of patches, the channel fastest, is a convolution with the patch as its stride.
    kernel = state.pop("encoder.proj.weight").reshape(16, 4, 4, 4, 1).movedim(-1, 1)
    renamed["patch_embedding.patch_embeddings.weight"] = kernel
    moved = {
        "encoder.proj.": "patch_embedding.patch_embeddings.",
        "norm.": "norm.",
        "head.": "classification_head.",
    }
    inner = {".attn.proj.": ".attn.out_proj.", ".mlp.fc1.": ".mlp.linear1.", ".mlp.fc2.": ".mlp.linear2."}
    for name, array in state.items():
        for ours, theirs in moved.items():
            if name.startswith(ours):
                renamed[name.replace(ours, theirs, 1)] = array
        if name.startswith("encoder.blocks."):
            theirs = name.removeprefix("encoder.")
            for ours, other in inner.items():
                theirs = theirs.replace(ours, other)
            renamed[theirs] = array
    return renamed


def test_layers_are_skipped_in_training_at_their_rate_and_never_in_evaluation() -> None:
    encoder = encoder_of(minit(depth=6, layer_drop=0.25))
    with seeded(0):
        executed = [6 - len(encoder.train().skipped()) for _ in range(400)]
    assert sum(executed) / 400 == pytest.approx(4.5, abs=0.15)
    assert encoder.eval().skipped() == frozenset()


def test_the_released_rule_skips_two_of_six_layers_in_evaluation() -> None:
    encoder = encoder_of(minit(depth=6, layer_drop=0.25, skips_in_evaluation=True))
    assert encoder.eval().skipped() == {1, 5}


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
def test_sixteen_bits_come_close_and_blocks_are_joined_in_full_precision(half: torch.dtype) -> None:
    method = minit()
    torch.nn.init.normal_(method.head.get_parameter("weight"), std=0.1)
    with torch.no_grad(), torch.autocast("cpu", dtype=half):
        found = method.logits(volumes())
    assert found.dtype is torch.float32
    with torch.no_grad():
        torch.testing.assert_close(found, method.logits(volumes()), atol=1e-2, rtol=1e-2)


@pytest.mark.parametrize("wrong", [(2, 1, 16, 16), (2, 1, 12, 16, 16), (2, 3, 16, 16, 16)])
def test_what_is_no_cube_of_the_study_is_refused(wrong: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match="reads volumes of 1 x 16 x 16 x 16"):
        minit().backbone(torch.zeros(wrong))


def test_cubes_that_do_not_fill_the_volume_are_refused() -> None:
    with pytest.raises(SpecError, match="choose a block_px"):
        MINiTConfig().build(image_px=40, channels=1)
    with pytest.raises(SpecError, match="choose a patch_px"):
        NiTConfig().build(image_px=36, channels=1)
    with pytest.raises(SpecError, match="more than 16 patches"):
        NiTConfig().build(image_px=16, channels=1)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"block_px": 16, "patch_px": 5}, "divides block_px"),
        ({"width": 30}, "heads"),
        ({"pooling": "attention", "scores": 3}, "scores has no effect"),
        ({"skips_in_evaluation": True}, "without layer_drop"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        MINiTConfig.model_validate(settings)


def test_places_have_no_features() -> None:
    with pytest.raises(SpecError, match="whole volumes"):
        minit().backbone.feature_map(volumes())


def test_the_rate_of_the_recipe_rises_once_and_falls_to_zero() -> None:
    schedule = Schedule(shape="cosine", warmup_rounds=10)
    clocks = [Clock(round=round_, rounds=200, step=step, steps=4) for round_ in range(200) for step in range(4)]
    rates = [learning_rate(schedule, peak=1e-4, clock=clock) for clock in (*clocks, Clock(round=200, rounds=200))]
    assert (rates[0], max(rates), rates[40]) == (0.0, 1e-4, 1e-4)
    assert rates[:41] == sorted(rates[:41])
    assert rates[40:] == sorted(rates[40:], reverse=True)
    assert rates[-1] == pytest.approx(0.0, abs=1e-12)


def test_patients_whose_names_contain_each_other_are_apart() -> None:
    names = np.array([f"NDAR{'1' * length}" for length in range(1, 41) for _ in range(2)])
    classes = np.ones((len(names), 1), dtype=bool)
    splits = deal_splits(names, classes, seed=3)
    assert all(len(set(splits[names == name])) == 1 for name in names)
    assert len(set(splits)) == 3


def test_the_mean_of_two_identical_sites_is_each_of_them() -> None:
    state = {name: tensor.numpy() for name, tensor in minit().state_dict().items()}
    aggregator = WeightedMean(WeightedMeanConfig())
    aggregator.begin(Manifest.of(state))
    for site in ("north", "south"):
        arrays = {name: array.copy() for name, array in state.items()}
        aggregator.add(
            Update(site=site, round=0, parent="0" * 64, num_examples=3, num_steps=1, groups={SHARED: arrays})
        )
    mean = aggregator.finish(state)
    assert set(mean) == set(state)
    assert all(np.array_equal(mean[name], array) for name, array in state.items())
