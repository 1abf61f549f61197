"""Separable convolutions and their networks compute what the published code computes.

Origin: UCSC-VLAA/Image-Pretraining-for-Video, commit c52c9463f3ff (Spatiotemporal_Finetuning/mmaction/models/
backbones), on torch 2.15.0 and mmcv 1.7.2, CPU, float32; seeds 301 to 344. Operators, blocks, small networks, and full
networks whose weights and clip follow the rule of ``hash_filled``. ``y_clean`` was derived from the published operator
on frames with wide borders of zeros, since the release has no such mode.
Tolerance: 1e-5 of the largest entry; full networks 1e-4 of the largest logit.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from published import assert_near_in_scale
from safetensors.torch import load_file
from torch import Tensor, nn

from fedward_models.backbones.sts_resnet.blocks import (
    Block,
    BlockShape,
    ConvNorm,
    DepthwiseBottleneck,
    TemporalBottleneck,
    X3DBlock,
)
from fedward_models.backbones.sts_resnet.config import STSResNetConfig
from fedward_models.backbones.sts_resnet.sts_resnet import STSResNet
from fedward_models.layers.sts_conv import STSConv3d
from fedward_models.layers.sts_conversion import convert_sts, deconvert_sts

HERE = Path(__file__).parent
OPERATORS = load_file(HERE / "sts_operator.safetensors")
BLOCKS = load_file(HERE / "sts_blocks.safetensors")
# Kernel, stride, groups.
CASES: dict[str, tuple[tuple[int, int, int], int, int]] = {
    "op_dw_s1": ((3, 3, 3), 1, 8),
    "op_dw_s2": ((3, 3, 3), 2, 6),
    "op_dw_s2_odd": ((3, 3, 3), 2, 4),
    "op_full_t": ((3, 1, 1), 1, 1),
    "op_full_t_uneven": ((3, 1, 1), 1, 1),
}
SHAPES: dict[str, Callable[[], Block]] = {
    "block_csn": lambda: DepthwiseBottleneck(shape(16, 8, 32, 1)),
    "block_csn_down": lambda: DepthwiseBottleneck(shape(32, 16, 64, 2)),
    "block_x3d": lambda: X3DBlock(shape(8, 18, 8, 1), squeeze=True),
    "block_slow": lambda: TemporalBottleneck(shape(32, 8, 32, 1), temporal=True),
}
SMALL: dict[str, dict[str, Any]] = {
    "csn": {"width": 4, "depths": (1, 2, 1, 1)},
    "slowonly": {"width": 4, "depths": (1, 2, 1, 1)},
    "x3d": {"width": 8, "depths": (1, 1, 2, 2), "head_width": 0},
    "r2plus1d": {"width": 4, "depths": (1, 1, 1, 1)},
}
FULL: dict[str, tuple[dict[str, Any], tuple[int, ...]]] = {
    "full_csn50": ({"network": "csn", "width": 64, "depths": (3, 4, 6, 3)}, (1, 3, 4, 64, 64)),
    "full_x3d_s": ({"network": "x3d", "width": 24, "depths": (3, 5, 11, 7)}, (1, 3, 4, 96, 96)),
    "full_slowonly50": ({"network": "slowonly", "width": 64, "depths": (3, 4, 6, 3)}, (1, 3, 4, 64, 64)),
    "full_slowfast_4x16": ({"network": "slowfast", "width": 64, "depths": (3, 4, 6, 3)}, (1, 3, 16, 64, 64)),
    "full_r2plus1d34": ({"network": "r2plus1d", "width": 64, "depths": (3, 4, 6, 3)}, (1, 3, 4, 64, 64)),
}


class Network(nn.Module):
    """Our backbone with the published classifier, by the published names."""

    def __init__(self, *, classes: int, image_px: int, **settings: Any) -> None:
        super().__init__()
        self.backbone: STSResNet = STSResNetConfig(**settings).build(image_px=image_px, channels=3)
        self.fc_cls = nn.Linear(self.backbone.num_features, classes)

    def forward(self, clips: Tensor) -> Tensor:
        logits: Tensor = self.fc_cls(self.backbone(clips))
        return logits

    def published(self) -> dict[str, str]:
        """Our names of all entries, by the published ones."""
        return {_published(name): name for name in self.state_dict() if "num_batches_tracked" not in name}


def _published(name: str) -> str:
    if name.startswith("fc_cls."):
        return f"cls_head.{name}"
    return name.replace("backbone.fc1.", "cls_head.fc1.").replace("backbone.path.", "backbone.")


def shape(inputs: int, inner: int, outputs: int, stride: int) -> BlockShape:
    return BlockShape(inputs=inputs, inner=inner, outputs=outputs, stride=stride, norm="batch")


def part(arrays: dict[str, Tensor], case: str, kind: str) -> dict[str, Tensor]:
    start = f"{kind}/{case}/"
    return {name.removeprefix(start): tensor for name, tensor in arrays.items() if name.startswith(start)}


def operator(case: str, rowcol: str) -> STSConv3d:
    kernel, stride, groups = CASES[case]
    weight = OPERATORS[f"state/{case}/conv.weight"]
    conv = STSConv3d(
        weight.shape[1] * groups,
        len(weight),
        kernel_size=kernel,
        stride=(1, stride, stride),
        groups=groups,
        rowcol=rowcol,  # type: ignore[arg-type]
    )
    conv.load_state_dict({"weight": weight})
    return conv


@pytest.mark.parametrize("case", CASES)
def test_operators_are_equal(case: str) -> None:
    inputs, outputs = part(OPERATORS, case, "in"), part(OPERATORS, case, "out")
    assert_near_in_scale(operator(case, "clean")(inputs["x"]), outputs["y_clean"])
    rowcol = "flat" if "y" in outputs else "clean"
    conv = operator(case, rowcol)
    found = conv(inputs["x"])
    assert_near_in_scale(found, outputs["y" if rowcol == "flat" else "y_clean"])
    (found * inputs["r"]).sum().backward()
    assert conv.weight.grad is not None
    assert_near_in_scale(conv.weight.grad, part(OPERATORS, case, "grad")["conv.weight"])
    plain = nn.Sequential(conv)
    deconvert_sts(plain)
    assert_near_in_scale(plain(inputs["x"]), outputs["y_plain"])


@pytest.mark.parametrize("case", SHAPES)
def test_blocks_are_equal(case: str) -> None:
    block, inputs, outputs = SHAPES[case]().eval(), part(BLOCKS, case, "in"), part(BLOCKS, case, "out")
    missing, unexpected = block.load_state_dict(part(BLOCKS, case, "state"), strict=False)
    assert all("num_batches_tracked" in name for name in missing)
    assert not unexpected
    if isinstance(block.downsample, ConvNorm):
        norm = block.downsample.get_submodule("bn")
        assert isinstance(norm, nn.BatchNorm3d)
        norm.eps = 1e-5  # where a block stands alone; in the published networks it is that of the block
    assert_near_in_scale(block(inputs["x"]), outputs["y_plain"])
    convert_sts(block, rowcol="flat")
    found = block(inputs["x"])
    assert_near_in_scale(found, outputs["y"])
    found.square().mean().backward()
    for name, gradient in part(BLOCKS, case, "grad").items():
        _assert_gradient(block, name, gradient)


@pytest.mark.parametrize("name", SMALL)
def test_small_networks_are_equal(name: str) -> None:
    case = f"net_{name}"
    arrays = load_file(HERE / f"sts_{case}.safetensors")
    clips, outputs, state = arrays[f"in/{case}/x"], part(arrays, case, "out"), part(arrays, case, "state")
    network = Network(classes=6, image_px=64, network=name, rowcol="flat", **SMALL[name]).eval()
    names = {ours: theirs for theirs, ours in network.published().items() if theirs in state}
    assert set(names.values()) == set(state)
    network.load_state_dict({ours: state[theirs] for ours, theirs in names.items()}, strict=False)
    features = network.backbone.feature_map(clips)
    assert_near_in_scale(features, outputs["features"])
    if "logits" in outputs:
        assert_near_in_scale(network(clips), outputs["logits"])
    (network(clips).square().sum() if name == "r2plus1d" else features.square().mean()).backward()
    for theirs, gradient in part(arrays, case, "grad").items():
        _assert_gradient(network, network.published()[theirs], gradient)
    deconvert_sts(network)
    if "features_plain" in outputs:
        assert_near_in_scale(network.backbone.feature_map(clips), outputs["features_plain"])


@pytest.mark.slow
@pytest.mark.parametrize("case", FULL)
def test_full_networks_are_equal(case: str, hash_filled: Callable[..., tuple[dict[str, Tensor], Tensor]]) -> None:
    settings, size = FULL[case]
    network = Network(classes=400, image_px=size[-1], rowcol="flat", **settings).eval()
    names, own = network.published(), network.state_dict()
    state, clips = hash_filled({theirs: tuple(own[ours].shape) for theirs, ours in names.items()}, size)
    network.load_state_dict({names[theirs]: tensor for theirs, tensor in state.items()}, strict=False)
    with torch.no_grad():
        separated = network(clips)
        deconvert_sts(network)
        plain = network(clips)
    for found, name in ((separated, "logits"), (plain, "logits_plain")):
        expected = OPERATORS[f"out/{case}/{name}"]
        assert_near_in_scale(found / expected.abs().max(), expected / expected.abs().max(), 1e-4)


def _assert_gradient(module: nn.Module, name: str, expected: Tensor) -> None:
    found = module.get_parameter(name).grad
    assert found is not None
    assert_near_in_scale(found, expected)
