"""Networks of timm and MONAI as backbones: found by name, offline, and what they give is what the library gives."""

import socket
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from fedward_core import registry
from fedward_core.cards import Contract
from fedward_core.errors import CheckpointError, SpecError
from fedward_core.partition import Partition
from fedward_core.spec import PersonalisationConfig
from fedward_models.backbones.backbone import Backbone
from fedward_models.backbones.monai_network import monai_network
from fedward_models.building import manifest_of, seeded
from fedward_models.frozen import FrozenWeights, file_digest
from fedward_models.method import Method
from fedward_models.methods.supervised.config import SupervisedConfig
from fedward_models.personalisation.halves import Half, gates, only

RESNET = {"block": "basic", "layers": [1, 1, 1, 1], "block_inplanes": [4, 8, 16, 32], "no_max_pool": True}
UNET = {"channels": [4, 8], "strides": [2]}
SWIN = {"patch_size": 2, "embed_dim": 8, "depths": [1, 1], "num_heads": [1, 2], "window_size": 4}


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whatever looks for another machine fails, and what was fetched before is not found."""

    def refuse(*arguments: Any, **keywords: Any) -> Any:
        raise AssertionError("a network was built by asking another machine")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)


def build(name: str, network: str, *, px: int = 32, channels: int = 1, **settings: Any) -> Any:
    with seeded(0):
        config = registry.resolve("backbones", name).default(network=network, **settings)
        return config.build(image_px=px, channels=channels)


def images(px: int = 32, channels: int = 1, *leading: int) -> Tensor:
    return torch.randn(2, channels, *leading, px, px, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("name", "network", "nearest"),
    [("timm", "rensnet18", "resnet18"), ("monai", "Unett", "UNet"), ("monai_volume", "DenseNet21", "DenseNet121")],
)
def test_an_unknown_network_is_answered_with_the_nearest(name: str, network: str, nearest: str) -> None:
    with pytest.raises(SpecError, match=f"has no network '{network}' here. Did you mean .*{nearest}"):
        build(name, network)


@pytest.mark.parametrize(("name", "network"), [("timm", "zzz"), ("monai", "zzz")])
def test_a_name_like_no_other_is_answered_without_a_guess(name: str, network: str) -> None:
    with pytest.raises(SpecError, match="None has a name like it"):
        build(name, network)


@pytest.mark.parametrize(("name", "network"), [("timm", "test_resnet"), ("monai", "ResNet")])
def test_an_argument_that_a_network_does_not_take_is_named(name: str, network: str) -> None:
    with pytest.raises(SpecError, match="colour"):
        build(name, network, arguments={"colour": "green"})


@pytest.mark.parametrize("name", ["timm", "monai", "monai_volume"])
@pytest.mark.parametrize("key", ["pretrained", "pretrained_cfg", "checkpoint_path", "num_classes"])
def test_arguments_that_download_or_belong_elsewhere_are_refused(name: str, key: str) -> None:
    with pytest.raises(ValueError, match=f"argument '{key}' is not for a spec to set"):
        registry.resolve("backbones", name).default(arguments={key: True})


@pytest.mark.parametrize("network", ["../weights", "hf-hub:someone/network", "resnet18.a1_in1k"])
def test_names_that_lead_elsewhere_are_no_names(network: str) -> None:
    with pytest.raises(ValueError, match="should match pattern"):
        registry.resolve("backbones", "timm").default(network=network)


def test_what_downloads_by_default_is_built_without() -> None:
    build("monai", "EfficientNetBN", arguments={"model_name": "efficientnet-b0"})


@pytest.mark.parametrize(
    ("name", "network", "settings"),
    [
        ("timm", "test_resnet", {"arguments": {"output_stride": 8}}),
        ("timm", "swin_tiny_patch4_window7_224", {"arguments": SWIN}),
        ("monai", "ResNet", {"arguments": RESNET}),
        ("monai", "DenseNet", {"arguments": {"init_features": 8, "growth_rate": 4, "block_config": [1, 1]}}),
        ("monai", "UNet", {"arguments": UNET, "features": 6}),
    ],
)
def test_the_mean_over_places_is_what_pooling_gives(name: str, network: str, settings: dict[str, Any]) -> None:
    backbone = build(name, network, **settings).eval()
    places = backbone.feature_map(images())
    assert places.shape[2] > 1
    torch.testing.assert_close(places.mean(dim=(2, 3)), backbone(images()), rtol=1e-4, atol=1e-5)


def test_places_of_tokens_lie_where_their_patches_do() -> None:
    backbone = build("timm", "test_vit").eval()
    tokens = backbone.network.forward_features(images())[:, 1:]
    places = backbone.feature_map(images())
    torch.testing.assert_close(places, tokens.transpose(1, 2).reshape(2, -1, 2, 2))


def test_features_are_those_that_the_library_would_classify() -> None:
    from monai.networks.nets.densenet import DenseNet  # noqa: PLC0415 - it is slow to import

    arguments: dict[str, Any] = {"init_features": 8, "growth_rate": 4, "block_config": [1, 1]}
    backbone = build("monai", "DenseNet", arguments=arguments).eval()
    with seeded(0):
        whole: Any = DenseNet(spatial_dims=2, in_channels=1, out_channels=32, **arguments).eval()
    torch.testing.assert_close(whole.class_layers.out(backbone(images())), whole(images()), rtol=1e-4, atol=1e-5)


def test_a_network_of_volumes_takes_any_depth() -> None:
    backbone = build("monai_volume", "UNet", px=16, arguments=UNET, features=6).eval()
    assert backbone(images(16, 1, 8)).shape == (2, 6)


def test_features_of_a_classifier_are_not_for_a_spec_to_set() -> None:
    with pytest.raises(SpecError, match="'features' has no effect"):
        build("monai", "ResNet", arguments=RESNET, features=8)


def test_a_network_whose_last_linear_layer_is_no_classifier_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class WithAnAside(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.classes, self.aside = torch.nn.Linear(32 * 32, 3), torch.nn.Linear(7, 3)

        def forward(self, images: Tensor) -> Any:
            return self.classes(images.flatten(1))

    monkeypatch.setattr(monai_network, "build_network", lambda *_, **__: WithAnAside())
    with pytest.raises(SpecError, match="is no linear classifier"):
        build("monai", "ResNet")


@pytest.mark.parametrize("network", ["AutoencoderKL", "VoxelMorph", "Regressor"])
def test_what_gives_neither_classes_nor_maps_is_refused(network: str) -> None:
    with pytest.raises(SpecError):
        build("monai", network)


GROUPED = [
    ("timm", "test_resnet", {}),
    ("timm", "test_efficientnet", {}),
    ("timm", "mobilenetv3_small_050", {}),
    ("monai", "ResNet", {"arguments": RESNET}),
]


@pytest.mark.parametrize(("name", "network", "settings"), GROUPED)
@pytest.mark.parametrize(("half", "other"), [(Half.SHARED, Half.PRIVATE), (Half.PRIVATE, Half.SHARED)])
def test_a_pass_through_one_half_does_not_see_the_other(
    name: str, network: str, settings: dict[str, Any], half: Half, other: Half
) -> None:
    method = method_over(build(name, network, **settings))
    before = half_logits(method, half)
    change(method, other)
    torch.testing.assert_close(half_logits(method, half), before)
    change(method, half)
    assert not torch.allclose(half_logits(method, half), before, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "network", "settings"),
    [("timm", "test_convnext", {}), ("monai", "UNet", {"arguments": UNET | {"norm": "batch"}, "features": 6})],
)
def test_where_channels_cannot_be_told_apart_whole_layers_still_can_stay(
    name: str, network: str, settings: dict[str, Any]
) -> None:
    method = method_over(build(name, network, **settings))
    with pytest.raises(SpecError, match="choose another network, or another personalisation".capitalize()):
        personalisation("channel_decoupling").build().rules(method)
    for kind in ("fedper", "lg_fedavg", "fedbn"):
        partition = Partition(manifest_of(method), personalisation(kind).build().rules(method))
        assert partition.has_private


class TestWeights:
    """Weights of a file, as the library publishes them: of colour images, and with a classifier."""

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = tmp_path
        monkeypatch.setenv("FEDWARD_WEIGHTS", str(tmp_path))

    def written(self, state: dict[str, Tensor]) -> dict[str, str]:
        path = self.folder / "published.safetensors"
        save_file({name: tensor.contiguous() for name, tensor in state.items()}, path)
        return FrozenWeights(name="published", sha256=file_digest(path)).model_dump()

    def published(self) -> dict[str, Tensor]:
        import timm  # noqa: PLC0415 - it is slow to import

        with seeded(7):
            return dict(timm.create_model("test_resnet", pretrained=False).state_dict())

    def test_a_published_checkpoint_loads_and_its_colours_are_summed_for_grey(self) -> None:
        state = self.published()
        weights = self.written(state)
        backbone = build("timm", "test_resnet", weights=weights)
        own = backbone.network.state_dict()
        assert "fc.weight" in state
        torch.testing.assert_close(own["conv1.0.weight"], state["conv1.0.weight"].sum(dim=1, keepdim=True))
        assert all(torch.equal(tensor, state[name]) for name, tensor in own.items() if name != "conv1.0.weight")

    def test_a_checkpoint_of_another_network_is_refused(self) -> None:
        weights = self.written(self.published())
        with pytest.raises(CheckpointError, match="another network"):
            build("timm", "test_efficientnet", weights=weights)

    @pytest.mark.parametrize(
        ("change", "fault"),
        [
            (lambda state: state.pop("layer1.0.conv1.weight"), "lack 1 entries, 'layer1.0.conv1.weight'"),
            (lambda state: state.update(more=torch.zeros(1)), "have unknown 1 entries, 'more'"),
            (lambda state: state.update({"bn1.bias": torch.zeros(1)}), "other shapes in 1 entries, 'bn1.bias'"),
        ],
    )
    def test_an_entry_too_few_too_many_or_misshapen_is_named(self, change: Any, fault: str) -> None:
        state = self.published()
        change(state)
        with pytest.raises(CheckpointError, match=fault):
            build("timm", "test_resnet", weights=self.written(state))

    def test_monai_weights_load_without_their_classifier(self) -> None:
        source = build("monai", "ResNet", arguments=RESNET)
        state = {name: tensor + 1 for name, tensor in source.network.state_dict().items()}
        weights = self.written({**state, "fc.weight": torch.zeros(5, 32), "fc.bias": torch.zeros(5)})
        own = build("monai", "ResNet", arguments=RESNET, weights=weights).network.state_dict()
        assert all(torch.equal(tensor, state[name]) for name, tensor in own.items() if tensor.is_floating_point())


def method_over(backbone: Backbone) -> Method:
    method = SupervisedConfig().build(backbone=backbone, contract=Contract(classes=("a", "b", "c")))
    assert isinstance(method, Method)
    torch.nn.init.normal_(method.get_parameter("head.weight"), generator=torch.Generator().manual_seed(2))
    return method.eval()


def personalisation(name: str) -> PersonalisationConfig:
    config = registry.resolve("personalisations", name).default()
    assert isinstance(config, PersonalisationConfig)
    return config


def half_logits(method: Method, half: Half) -> Tensor:
    with torch.no_grad(), only(half, method, gates(method, Fraction(1, 2))):
        return method.logits(images())


def change(method: Method, half: Half) -> None:
    """Double the entries of one half, in every tensor that is cut."""
    rules = personalisation("channel_decoupling").build().rules(method)
    partition = Partition(manifest_of(method), rules, share=Fraction(1, 2))
    for name, tensor in method.state_dict().items():
        shared = partition.shared_mask(name)
        if shared is not None:
            where = torch.from_numpy(shared if half is Half.SHARED else ~shared)
            tensor[where] = 2 * tensor[where] + 0.1
