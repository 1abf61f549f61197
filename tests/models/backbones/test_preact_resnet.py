"""PreActResNet: its counts, its maps, its start and its activations."""

from typing import Any, get_args

import pytest
import torch
from torch import Tensor, nn

from fedward_core.errors import SpecError
from fedward_models.backbones.preact_resnet.config import PreActResNetConfig
from fedward_models.backbones.preact_resnet.preact_resnet import PreActResNet
from fedward_models.layers.activation import ActivationName, activation


def build(image_px: int = 32, **settings: Any) -> PreActResNet:
    backbone = PreActResNetConfig(**settings).build(image_px=image_px, channels=3)
    assert isinstance(backbone, PreActResNet)
    return backbone


def on_meta(**settings: Any) -> PreActResNet:
    with torch.device("meta"):
        return build(**settings)


@pytest.mark.parametrize(
    ("final_norm", "classes", "count"),
    [(True, 10, 11_172_170), (True, 100, 11_218_340), (False, 10, 11_171_146), (False, 100, 11_217_316)],
)
@pytest.mark.parametrize("trick", [{}, {"stem_stride": 2}, {"activation": "silu"}])
def test_the_published_networks_have_their_counts_and_tricks_leave_them(
    final_norm: bool, classes: int, count: int, trick: dict[str, Any]
) -> None:
    """Check 1; with a linear head of 513 numbers a class."""
    backbone = on_meta(final_norm=final_norm, **trick)
    assert sum(p.numel() for p in backbone.parameters()) + classes * (backbone.num_features + 1) == count
    assert sum(b.numel() for b in backbone.buffers()) == (7_825 if final_norm else 6_800)


@pytest.mark.parametrize("stride", [1, 2, 4])
def test_maps_shrink_with_the_stride_and_are_pooled_whole(stride: int) -> None:
    """Check 2."""
    backbone = on_meta(stem_stride=stride)
    images = torch.empty(2, 3, 32, 32, device="meta")
    features, sizes = backbone.conv1(images), []
    for stage in backbone._stages():
        features = stage(features)
        sizes.append(tuple(features.shape[1:]))
    side = 32 // stride
    assert sizes == [
        (64, side, side),
        (128, side // 2, side // 2),
        (256, side // 4, side // 4),
        (512, *[side // 8] * 2),
    ]
    assert backbone(images).shape == (2, 512)


def test_the_first_layer_starts_with_its_published_norm() -> None:
    """Check 3: 1728 weights of variance 2/576."""
    torch.manual_seed(0)
    norms = [float(build().conv1.weight.detach().square().sum()) for _ in range(3)]
    assert sum(norms) / len(norms) == pytest.approx(6.0, abs=0.4)


@pytest.mark.parametrize("name", [name for name in get_args(ActivationName) if name != "relu"])
def test_smooth_activations_bend_without_a_kink(name: ActivationName) -> None:
    """Check 13: the slopes left and right of 0 agree."""
    act = activation(name).double()
    x = torch.tensor([-1e-4, 1e-4], dtype=torch.float64, requires_grad=True)
    act(x).sum().backward()
    assert x.grad is not None
    left, right = x.grad.tolist()
    assert abs(left - right) < 1e-3


@pytest.mark.parametrize(("name", "slope"), [("silu", 0.5), ("gelu", 0.5), ("softplus", 0.5)])
def test_smooth_activations_have_their_slopes_at_zero(name: ActivationName, slope: float) -> None:
    """Check 13."""
    x = torch.zeros(1, requires_grad=True)
    activation(name)(x).sum().backward()
    assert float(x.grad) == pytest.approx(slope)  # type: ignore[arg-type]


def test_softplus_of_zero_is_the_logarithm_of_two_over_its_sharpness() -> None:
    """Check 13."""
    assert float(activation("softplus")(torch.zeros(()))) == pytest.approx(0.0693, abs=1e-4)


@pytest.mark.parametrize("name", ["silu", "softplus"])
def test_no_relu_is_left_with_a_smooth_activation(name: str) -> None:
    """Check 13: neither as a module nor in the graph of a pass."""
    backbone = build(image_px=8, width=2, activation=name)
    assert not [module for module in backbone.modules() if isinstance(module, nn.ReLU)]
    waiting: list[Any] = [backbone(torch.randn(2, 3, 8, 8)).sum().grad_fn]
    seen = set()
    while waiting:
        node = waiting.pop()
        if node is not None and node not in seen:
            seen.add(node)
            waiting += [parent for parent, _ in node.next_functions]
    assert not [node for node in seen if "relu" in node.name().lower()]


def test_images_too_small_for_the_strides_are_refused() -> None:
    with pytest.raises(SpecError, match="at least 32"):
        build(image_px=16, stem_stride=4)


def test_layers_rise_from_the_first_convolution_to_the_last_norm() -> None:
    backbone = on_meta()
    names = ("conv1.weight", "layer1.0.conv1.weight", "layer2.0.shortcut.0.weight", "layer4.1.bn2.bias", "bn.weight")
    assert [backbone.layer_of(name) for name in names] == [0, 1, 3, 8, 9]
    assert backbone.num_layers() == 9


def test_deeper_networks_build() -> None:
    images: Tensor = torch.empty(2, 3, 32, 32, device="meta")
    assert on_meta(depth=34)(images).shape == (2, 512)
