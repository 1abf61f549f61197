"""RobustCNN computes what the published code computes.

Origin: UCSC-VLAA/RobustCNN, commit 81b433682dc4 (timm/models/robust_resnet.py, timm/models/layers/
robust_resnet_blocks.py), on torch 2.15.0, CPU, float32, without layer scale; seeds 1100 to 1133. Single blocks, single
stages of two blocks with a change of width and a stride, small networks with a stem of 16 x 16, and full networks whose
weights and image follow the rule of ``hash_filled``.
Tolerance: 1e-5 absolute, where values are large of the largest entry; full networks 1e-4 of the largest logit.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from published import assert_near_in_scale
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from fedward_models.backbones.robust_cnn.block import Block, BlockShape
from fedward_models.backbones.robust_cnn.config import RobustCNNConfig, Variant
from fedward_models.backbones.robust_cnn.robust_cnn import RobustCNN, Stage

HERE = Path(__file__).parent
PARTS = load_file(HERE / "robust_cnn_parts.safetensors")
DEPTHS = {"dw": (1, 1, 2, 1), "inverted": (1, 2, 1, 1), "up_inverted": (2, 1, 1, 1), "down_inverted": (1, 1, 2, 1)}

FULL = {"dw": (3, 4, 12, 3), "inverted": (3, 4, 14, 3), "up_inverted": (3, 4, 14, 3), "down_inverted": (3, 4, 15, 3)}

every_variant = pytest.mark.parametrize("variant", get_args(Variant))


class Case:
    """One stored case.

    Attributes:
        arrays: Everything of it, by part and name.
    """

    def __init__(self, name: str, arrays: dict[str, Tensor]) -> None:
        self.arrays = {key.replace(f"/{name}/", "/"): t for key, t in arrays.items() if f"/{name}/" in key}

    def named(self, part: str) -> dict[str, Tensor]:
        start = f"{part}/"
        return {key.removeprefix(start): t for key, t in self.arrays.items() if key.startswith(start)}


class Network(nn.Module):
    """Our backbone with the published classifier."""

    def __init__(self, *, classes: int, image_px: int, **settings: Any) -> None:
        super().__init__()
        config = RobustCNNConfig(drop_path=0.0, **settings)
        self.backbone: RobustCNN = config.build(image_px=image_px, channels=3)
        self.fc = nn.Linear(self.backbone.num_features, classes)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.fc(self.backbone(images))
        return logits

    def load_published(self, state: dict[str, Tensor]) -> None:
        """Every entry of the published state has its place, under its own name."""
        head = {name.removeprefix("head.fc."): t for name, t in state.items() if name.startswith("head.")}
        self.fc.load_state_dict(head)
        self.backbone.load_state_dict({name: t for name, t in state.items() if not name.startswith("head.")})


def assert_gradients_near(module: nn.Module, expected: dict[str, Tensor]) -> None:
    assert expected
    for name, gradient in expected.items():
        found = module.get_parameter(name).grad
        assert found is not None
        assert_near_in_scale(found, gradient)


def kernel(variant: Variant) -> int:
    return RobustCNNConfig(variant=variant).kernel


@every_variant
def test_blocks_are_equal(variant: Variant) -> None:
    case = Case(f"block_{variant}", PARTS)
    inputs = 24 if variant == "dw" else 6
    block = Block(BlockShape(variant=variant, inputs=inputs, width=6, kernel=kernel(variant))).eval()
    block.load_state_dict(case.named("state"))
    found = block(case.arrays["in/x"])
    assert_near_in_scale(found, case.arrays["out/y"])
    (found * case.arrays["in/r"]).sum().backward()
    assert_gradients_near(block, case.named("grad"))


@every_variant
def test_stages_are_equal(variant: Variant) -> None:
    case = Case(f"stage_{variant}", PARTS)
    late = variant == "down_inverted"
    one, two = (1, 2) if late else (2, 1)
    first = BlockShape(variant=variant, inputs=8, width=16, stride=one, kernel=kernel(variant))
    second = BlockShape(variant=variant, inputs=first.outputs, width=16, stride=two, kernel=kernel(variant))
    stage = Stage([first, second]).eval()
    stage.load_state_dict(case.named("state"))
    found = stage(case.arrays["in/x"])
    assert_near_in_scale(found, case.arrays["out/y"])
    found.square().mean().backward()
    assert_gradients_near(stage, case.named("grad"))


def small(variant: Variant) -> tuple[Network, Case]:
    case = Case(f"net_{variant}", load_file(HERE / f"robust_cnn_net_{variant}.safetensors"))
    network = Network(classes=5, image_px=96, variant=variant, width=6, depths=DEPTHS[variant]).eval()
    network.load_published(case.named("state"))
    return network, case


@every_variant
def test_small_networks_are_equal_stage_by_stage(variant: Variant) -> None:
    network, case = small(variant)
    features = network.backbone.stem(case.arrays["in/x"])
    assert_near_in_scale(features, case.arrays["out/stem"])
    for index, stage in enumerate(network.backbone.stages):
        features = stage(features)
        assert_near_in_scale(features, case.arrays[f"out/stage{index}"])
    assert_near_in_scale(network(case.arrays["in/x"]), case.arrays["out/logits"])


@every_variant
def test_gradients_are_equal(variant: Variant) -> None:
    network, case = small(variant)
    functional.cross_entropy(network(case.arrays["in/x"]), case.arrays["in/labels"]).backward()  # type: ignore[no-untyped-call]
    expected = case.named("grad")
    assert network.fc.weight.grad is not None
    assert_near_in_scale(network.fc.weight.grad, expected.pop("head.fc.weight"))
    assert_gradients_near(network.backbone, expected)


@every_variant
def test_training_normalises_and_counts_equally(variant: Variant) -> None:
    network, case = small(variant)
    assert_near_in_scale(network.train()(case.arrays["in/x"]), case.arrays["out/logits_train"])
    norm = "stages.1.blocks.0.norm" + ("2" if variant == "down_inverted" else "1")
    expected = case.arrays[f"out/running_mean_after_train/{norm}"]
    assert_near_in_scale(network.backbone.get_buffer(f"{norm}.running_mean"), expected)


@pytest.mark.slow
@every_variant
def test_full_networks_are_equal(
    variant: Variant, hash_filled: Callable[..., tuple[dict[str, Tensor], Tensor]]
) -> None:
    network = Network(classes=1000, image_px=224, variant=variant, width=96, depths=FULL[variant]).eval()
    shapes = {n: t.shape for n, t in network.backbone.state_dict().items() if t.is_floating_point()}
    shapes |= {f"head.fc.{n}": t.shape for n, t in network.fc.state_dict().items()}
    state, images = hash_filled(shapes, (1, 3, 224, 224))
    counters = {n: t for n, t in network.backbone.state_dict().items() if not t.is_floating_point()}
    network.load_published({**state, **counters})
    expected = PARTS[f"out/full_{variant}/logits"]
    with torch.no_grad():
        assert_near_in_scale(network(images) / expected.abs().max(), expected / expected.abs().max(), 1e-4)
