"""Contributions, roll-out and maps: they add up, they lie where they should, and files keep them there."""

from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from torch import Tensor, nn

from fedward_core.cards import Contract
from fedward_core.errors import SpecError
from fedward_models.backbones.minit.config import MINiTConfig, NiTConfig
from fedward_models.backbones.minit.minit import MINiT
from fedward_models.backbones.minit.nit import NiT
from fedward_models.building import seeded
from fedward_models.data.reading.nifti import read_nifti_scan
from fedward_models.data.reading.voxels import canonical
from fedward_models.explanations.attention import attention_rollout
from fedward_models.explanations.contributions import block_contributions, for_class
from fedward_models.explanations.gradients import grad_cam, integrated_gradients
from fedward_models.explanations.overlay import write_nifti, write_slices
from fedward_models.explanations.voxel_map import attention_map, contribution_map
from fedward_models.layers.volume_blocks import cut_cubes
from fedward_models.methods.supervised.config import SupervisedConfig
from fedward_models.methods.supervised.supervised import Supervised

SMALL = {"width": 16, "depth": 2, "heads": 4, "hidden": 20, "patch_px": 4}


def build(config: MINiTConfig | NiTConfig, classes: int = 2) -> Supervised:
    with seeded(0):
        contract = Contract(classes=tuple(map(str, range(classes))))
        method: Supervised = SupervisedConfig().build(backbone=config.build(image_px=16, channels=1), contract=contract)
        nn.init.normal_(method.head.get_parameter("weight"))
        nn.init.normal_(method.head.get_parameter("bias"))
    return method.eval()


def parts(classes: int = 2, **settings: object) -> tuple[Supervised, MINiT, nn.Linear]:
    method = build(MINiTConfig.model_validate({**SMALL, "block_px": 8, **settings}), classes)
    assert isinstance(method.backbone, MINiT)
    assert isinstance(method.head, nn.Linear)
    return method, method.backbone, method.head


def volumes() -> Tensor:
    return torch.randn(2, 1, 16, 16, 16, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("pooling", ["linear", "mean"])
@pytest.mark.parametrize("classes", [2, 3])
def test_contributions_and_bias_are_the_logits(pooling: str, classes: int) -> None:
    method, backbone, head = parts(classes, pooling=pooling, scores=3)
    found = block_contributions(backbone, head, volumes()).sum(dim=2) + head.bias
    torch.testing.assert_close(found, method.logits(volumes()), atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("pooling", ["attention", "transformer"])
def test_other_poolings_have_no_exact_contributions(pooling: str) -> None:
    _, backbone, head = parts(pooling=pooling)
    with pytest.raises(SpecError, match="no exact contributions"):
        block_contributions(backbone, head, volumes())


def test_of_two_classes_the_difference_speaks() -> None:
    contributions = torch.tensor([[[1.0, 2.0], [5.0, -1.0]]])
    assert for_class(contributions, 1).tolist() == [[4.0, -3.0]]
    assert for_class(torch.cat([contributions, contributions], dim=1), 1).tolist() == [[5.0, -1.0]]
    assert for_class(contributions, 1, exclusive=False).tolist() == [[5.0, -1.0]]


def test_rollout_is_that_of_the_paper_and_its_rows_sum_to_one() -> None:
    _, backbone, _ = parts()
    tokens = backbone.tokens(volumes())
    found = attention_rollout(backbone.encoder, tokens)
    torch.testing.assert_close(found.sum(dim=-1), torch.ones(found.shape[:2]))
    torch.testing.assert_close(found[3], _rollout_written_out(backbone, tokens[3]), atol=1e-6, rtol=1e-5)


@torch.no_grad()
def _rollout_written_out(backbone: MINiT, tokens: Tensor) -> Tensor:
    """One cube, layer by layer and head by head."""
    reached, count = torch.eye(len(tokens)), len(tokens)
    for block in backbone.encoder.blocks:
        normed = block.get_submodule("norm1")(tokens)
        qkv = block.get_submodule("attn").get_submodule("qkv")(normed)
        mean = torch.zeros(count, count)
        for head in range(4):
            query, key = qkv[:, 4 * head : 4 * head + 4], qkv[:, 16 + 4 * head : 16 + 4 * head + 4]
            mean += (query @ key.T / 4**0.5).softmax(dim=1) / 4
        reached = (0.5 * mean + 0.5 * torch.eye(count)) @ reached
        tokens = block(tokens[None])[0]
    return reached


def test_a_map_has_the_shape_of_the_volume_and_sums_to_the_contributions() -> None:
    _, backbone, head = parts()
    found = contribution_map(backbone, head, volumes(), chosen=1)
    assert found.shape == (2, 16, 16, 16)
    expected = for_class(block_contributions(backbone, head, volumes()), 1)
    blocks = cut_cubes(found[:, None], side_px=8).flatten(2).sum(dim=2)
    torch.testing.assert_close(blocks, expected, atol=1e-5, rtol=1e-5)


def test_a_block_without_weight_is_not_in_the_map() -> None:
    _, backbone, head = parts()
    assert backbone.block_embedding is not None
    with torch.no_grad():
        backbone.block_embedding[5] = 0
        head.weight[:, 10:12] = 0
    found = cut_cubes(contribution_map(backbone, head, volumes(), chosen=0)[:, None], side_px=8).flatten(2)
    assert not found[:, 5].any()
    assert found.any(dim=2).sum() == 2 * 7


def test_attention_of_each_block_or_of_the_whole_volume_sums_to_one() -> None:
    _, backbone, _ = parts()
    blocks = cut_cubes(attention_map(backbone, volumes())[:, None], side_px=8).flatten(2).sum(dim=2)
    torch.testing.assert_close(blocks, torch.ones(2, 8))
    nit = build(NiTConfig.model_validate(SMALL)).backbone
    assert isinstance(nit, NiT)
    torch.testing.assert_close(attention_map(nit, volumes()).flatten(1).sum(dim=1), torch.ones(2))


def test_attention_maps_follow_the_class_token() -> None:
    with pytest.raises(SpecError, match="class token"):
        attention_map(parts(pool="mean")[1], volumes())


def test_integrated_gradients_sum_to_the_difference_of_logits() -> None:
    method = build(NiTConfig.model_validate(SMALL))
    images, baseline = volumes(), torch.zeros(1, 1, 1, 1, 1)
    found = integrated_gradients(lambda x: method.logits(x)[:, 1], images, baseline=baseline, steps=128)
    difference = method.logits(images)[:, 1] - method.logits(torch.zeros_like(images))[:, 1]
    torch.testing.assert_close(found.flatten(1).sum(dim=1), difference.detach(), atol=2e-2, rtol=2e-2)


def test_grad_cam_shows_where_a_convolution_answers() -> None:
    layer = nn.Conv3d(1, 2, 1, bias=False)
    layer.weight.data = torch.tensor([1.0, 0.0]).reshape(2, 1, 1, 1, 1)
    images = torch.zeros(1, 1, 8, 8, 8)
    images[0, 0, 2, 3, 4] = 1
    found = grad_cam(lambda x: layer(x).mean(dim=(2, 3, 4))[:, 0], layer, images)
    assert found.shape == (1, 8, 8, 8)
    assert found.nonzero().tolist() == [[0, 2, 3, 4]]


def test_a_map_keeps_its_orientation_and_spacing_through_a_file(tmp_path: Path) -> None:
    values = np.random.default_rng(0).random((4, 5, 6), dtype=np.float32)
    write_nifti(tmp_path / "map.nii.gz", values, spacing_mm=(3.0, 2.0, 1.0))
    read = canonical(*read_nifti_scan(tmp_path / "map.nii.gz"))
    np.testing.assert_array_equal(read.values, values)
    assert read.spacing_mm == pytest.approx((3.0, 2.0, 1.0))


def test_slices_become_a_picture(tmp_path: Path) -> None:
    heat = np.zeros((16, 16, 16), np.float32)
    write_slices(tmp_path / "empty.png", np.ones((16, 16, 16)), heat, title="lesion")
    heat[:, 4:8, 4:8] = 1
    write_slices(tmp_path / "map.png", np.ones((16, 16, 16)), heat, title="lesion")
    assert (tmp_path / "map.png").read_bytes() != (tmp_path / "empty.png").read_bytes()


@pytest.mark.parametrize(("depth", "shown"), [(3, 3), (8, 8), (9, 7), (16, 8)])
def test_each_slice_is_shown_once_with_its_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, depth: int, shown: int
) -> None:
    titles: list[str] = []
    monkeypatch.setattr(Axes, "set_title", lambda _, text, **__: titles.append(text))
    write_slices(tmp_path / "map.png", np.ones((depth, 8, 8)), np.zeros((depth, 8, 8)), title="named: lesion")
    assert len(set(titles)) == len(titles) == shown
    assert all(title.endswith(f"of {depth}") for title in titles)
