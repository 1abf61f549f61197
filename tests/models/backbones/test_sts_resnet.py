"""The residual networks of clips: sizes, image weights, frames apart, channels, and what is refused."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from fedward_core.cards import Contract, DataKind
from fedward_core.errors import CheckpointError, DataError, SpecError
from fedward_models.backbones.sts_resnet.config import STSResNetConfig
from fedward_models.backbones.sts_resnet.image_names import from_image_resnet
from fedward_models.backbones.sts_resnet.sts_resnet import STSResNet
from fedward_models.frozen import FOLDERS, FrozenWeights
from fedward_models.layers.image_weights import load_image_weights
from fedward_models.layers.sts_conversion import deconvert_sts
from fedward_models.method import Method
from fedward_models.methods.supervised.config import SupervisedConfig
from fedward_models.personalisation.halves import Half, gates, only

RESNET_50: dict[str, Any] = {"width": 64, "depths": (3, 4, 6, 3)}
# Parameters with 400 classes, separated convolutions, and those of them with a stride in space.
PUBLISHED: dict[str, tuple[dict[str, Any], int, int, int]] = {
    "csn": ({"network": "csn", **RESNET_50}, 13_131_152, 16, 3),
    "x3d": ({"network": "x3d", "width": 24, "depths": (3, 5, 11, 7)}, 3_794_322, 26, 4),
    "slowonly": ({"network": "slowonly", **RESNET_50}, 32_454_096, 9, 0),
    "slowfast_4x16": ({"network": "slowfast", **RESNET_50}, 34_479_288, 25, 0),
    "slowfast_8x8": ({"network": "slowfast", "slow_every": 4, **RESNET_50}, 34_565_560, 25, 0),
    "r2plus1d": ({"network": "r2plus1d", **RESNET_50}, 63_759_281, 33, 0),
}
NETWORKS = ("csn", "x3d", "slowonly", "slowfast", "r2plus1d")
every_network = pytest.mark.parametrize("network", NETWORKS)


def build(**settings: Any) -> STSResNet:
    torch.manual_seed(0)
    width = 8 if settings.get("network") == "x3d" else 4
    defaults = {"width": width, "depths": (1, 1), "stem": "small"}
    built = STSResNetConfig(**{**defaults, **settings}).build(image_px=16, channels=3)
    assert isinstance(built, STSResNet)
    return built.eval()


def clips(frames: int = 8) -> Tensor:
    return torch.randn(2, 3, frames, 16, 16, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_networks_have_their_sizes(name: str) -> None:
    settings, parameters, separated, strided = PUBLISHED[name]
    with torch.device("meta"):
        network = STSResNetConfig(**settings).build(image_px=224, channels=3)
    assert sum(p.numel() for p in network.parameters()) + 400 * (network.num_features + 1) == parameters
    assert len(network.separated) == separated
    assert sum(network.path.get_submodule(conv).stride[1] == 2 for conv in network.separated) == strided


@pytest.mark.parametrize(
    ("name", "shape", "expected"),
    [("csn", (32, 224), 80.3), ("x3d", (13, 160), 1.96), ("slowonly", (8, 224), 41.7)],
)
def test_multiply_adds_are_those_of_the_plain_network(name: str, shape: tuple[int, int], expected: float) -> None:
    found = []
    with torch.device("meta"):
        network = STSResNetConfig(**PUBLISHED[name][0]).build(image_px=shape[1], channels=3).eval()
        for _ in range(2):
            with FlopCounterMode(display=False) as counter:
                network(torch.empty(1, 3, shape[0], shape[1], shape[1]))
            found.append(counter.get_total_flops() / 2)
            deconvert_sts(network)
    assert found[0] == found[1]
    assert found[0] / 1e9 == pytest.approx(expected, rel=0.01)


@every_network
def test_maps_keep_time_and_features_are_as_wide(network: str) -> None:
    backbone = build(network=network)
    features = backbone.feature_map(clips())
    assert features.shape[1:3] == (36 if network == "x3d" else backbone.num_features, 8)
    assert backbone(clips()).shape == (2, backbone.num_features)


@pytest.mark.parametrize("network", ["csn", "slowonly"])
def test_a_static_network_cannot_tell_the_order_of_frames(network: str) -> None:
    order = torch.tensor([3, 0, 7, 1, 2, 6, 5, 4])
    static, halves = (
        build(network=network, static_fraction=1.0, depths=(1, 1, 1)),
        build(network=network, depths=(1, 1, 1)),
    )
    torch.testing.assert_close(static(clips()[:, :, order]), static(clips()))
    assert not torch.allclose(halves(clips()[:, :, order]), halves(clips()), atol=1e-4)


def test_a_cycle_has_no_first_frame() -> None:
    backbone = build(temporal_padding="circular")
    torch.testing.assert_close(backbone(clips().roll(3, dims=2)), backbone(clips()))


@pytest.mark.parametrize("network", ["csn", "x3d", "slowonly", "r2plus1d"])
def test_frames_apart_train_no_outer_slice(network: str) -> None:
    backbone = build(network=network, sts=False, frames="apart", depths=(1, 1, 1), norm="group").train()
    backbone(clips()).square().sum().backward()
    kernels = [m.weight.grad for m in backbone.modules() if isinstance(m, nn.Conv3d) and m.kernel_size[0] > 1]
    assert kernels
    for gradient in kernels:
        assert gradient is not None
        half = gradient.shape[2] // 2
        assert gradient[:, :, half].any()
        assert not gradient[:, :, :half].any()
        assert not gradient[:, :, half + 1 :].any()


def test_frames_apart_are_averaged_clips_of_one_frame() -> None:
    backbone = build(sts=False, frames="apart")
    alone = torch.stack([backbone(clips()[:, :, t : t + 1]) for t in range(8)]).mean(dim=0)
    torch.testing.assert_close(backbone(clips()), alone)


def test_clips_take_over_what_frames_learned() -> None:
    contract = Contract(kind=DataKind.CLIP, classes=("a", "b"), channels=3, depth=8)
    before, after = (
        SupervisedConfig().build(backbone=backbone, contract=contract)
        for backbone in (build(sts=False, frames="apart"), build())
    )
    inherited = after.inherit(before.state_dict(), before)
    assert not inherited.new
    assert set(inherited.taken) == set(before.state_dict())


def image_resnet() -> nn.Module:
    from torchvision.models.resnet import Bottleneck, ResNet  # noqa: PLC0415 - slow to import

    torch.manual_seed(3)
    network: nn.Module = ResNet(Bottleneck, [1, 1, 1, 1], num_classes=5).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.1)  # type: ignore[arg-type]
    return network


def slowonly(**settings: Any) -> STSResNet:
    built = STSResNetConfig(network="slowonly", width=64, depths=(1, 1, 1, 1), **settings).build(
        image_px=64, channels=3
    )
    assert isinstance(built, STSResNet)
    return built.eval()


def test_a_frame_gives_the_logits_of_the_image_network() -> None:
    images, clips3d = image_resnet(), slowonly()
    left = load_image_weights(clips3d, from_image_resnet(images.state_dict()))
    assert left == []
    frames = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    head = images.get_submodule("fc")
    with torch.no_grad():
        torch.testing.assert_close(head(clips3d(frames.unsqueeze(2))), images(frames), atol=1e-4, rtol=1e-4)


def test_a_spec_may_start_from_image_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import hashlib  # noqa: PLC0415 - of this test only

    save_file({n: t.contiguous() for n, t in image_resnet().state_dict().items()}, tmp_path / "images.safetensors")
    monkeypatch.setenv(FOLDERS, str(tmp_path))
    digest = hashlib.sha256((tmp_path / "images.safetensors").read_bytes()).hexdigest()
    weights = FrozenWeights(name="images", sha256=digest)
    loaded = slowonly(image_weights=weights).get_parameter("path.layer1.0.conv2.conv.weight")
    assert torch.equal(loaded[:, :, 0], image_resnet().get_parameter("layer1.0.conv2.weight"))
    with pytest.raises(CheckpointError, match="match depths"):
        STSResNetConfig(network="slowonly", width=64, depths=(2, 1, 1, 1), image_weights=weights).build(
            image_px=64, channels=3
        )


@pytest.mark.parametrize("network", ["csn", "x3d", "slowonly", "r2plus1d"])
def test_a_half_is_blind_to_the_other(network: str) -> None:
    """What a pass through shared channels gives does not change with any private number."""
    backbone = build(network=network, **({"head_width": 8} if network == "x3d" else {}))
    contract = Contract(kind=DataKind.CLIP, classes=("a", "b"), channels=3, depth=8)
    method: Method = SupervisedConfig().build(backbone=backbone, contract=contract).eval()
    nn.init.normal_(method.get_parameter("head.weight"))
    places = gates(method, Fraction(1, 2))
    with torch.no_grad(), only(Half.SHARED, method, places):
        before = method.logits(clips())
        for group in backbone.channel_groups():
            for axis in group.outputs:
                tensor = backbone.state_dict()[axis.tensor]
                tensor.narrow(axis.dim, group.channels // 2 + group.channels % 2, group.channels // 2).add_(0.3)
        after = method.logits(clips())
    torch.testing.assert_close(after, before)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"frames": "apart"}, "set sts: false"),
        ({"sts": False, "rowcol": "flat"}, "rowcol has an effect with sts: true only"),
        ({"slow_every": 4}, "slow_every has an effect with network: slowfast only"),
        ({"head_width": 8}, "head_width has an effect with network: x3d only"),
        ({"network": "x3d", "expansion": 2}, "expansion has an effect with networks with bottlenecks only"),
        ({"inflation": "mean"}, "inflation has an effect with image_weights only"),
        ({"width": 5}, "expected an even number"),
        ({"strides": (1,)}, "4 depths need as many strides"),
        ({"network": "slowfast", "sts": False, "frames": "apart"}, "pre-train with slowonly"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        STSResNetConfig(**settings)


def test_images_small_frames_and_ragged_maps_are_refused() -> None:
    with pytest.raises(DataError, match="found 4 axes"):
        build()(torch.zeros(2, 3, 16, 16))
    with pytest.raises(DataError, match="expected a multiple"):
        build(network="slowfast")(clips(frames=6))
    with pytest.raises(SpecError, match="too small"):
        STSResNetConfig().build(image_px=7, channels=3)
    with pytest.raises(SpecError, match="needs even maps"):
        STSResNetConfig(rowcol="flat", stem="small").build(image_px=18, channels=3)


def test_the_network_of_the_experiment_has_its_size() -> None:
    small = {"width": 16, "depths": (2, 2), "strides": (2, 2), "expansion": 2, "stem": "small"}
    backbone = STSResNetConfig(**small).build(image_px=24, channels=1)
    assert sum(p.numel() for p in backbone.parameters()) + 40 * 65 == 17_848


@pytest.mark.slow
def test_the_clean_mode_is_exported(tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    backbone = build()
    torch.onnx.export(backbone, (clips(),), tmp_path / "sts.onnx", dynamo=True, verbose=False)
    session = onnxruntime.InferenceSession(tmp_path / "sts.onnx", providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {session.get_inputs()[0].name: clips().numpy()})
    torch.testing.assert_close(torch.from_numpy(found), backbone(clips()), atol=1e-4, rtol=1e-4)
