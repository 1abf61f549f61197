"""What every registered backbone must keep, whatever it is."""

from fractions import Fraction
from typing import Any

import pytest
import torch
from torch import Tensor

from fedward_core import registry
from fedward_core.cards import DataNeed
from fedward_core.channel_cut import Cut
from fedward_core.errors import SpecError
from fedward_core.manifest import Manifest
from fedward_core.partition import Partition, Role, Rule
from fedward_models.backbones.backbone import Axis, Backbone, ChannelGroup
from fedward_models.building import seeded

IMAGE_PX, CHANNELS, FRAMES = 32, 3, 8
# What comes before height and width, by what a backbone says that it reads.
LEADING = {DataNeed.IMAGE: (), DataNeed.VOLUME: (IMAGE_PX,), DataNeed.CLIP: (FRAMES,)}
MONAI_RESNET: dict[str, Any] = {
    "network": "ResNet",
    "arguments": {"block": "basic", "layers": [1, 1, 1, 1], "block_inplanes": [4, 8, 16, 32], "no_max_pool": True},
}
# Small enough for a test; a backbone that is not named here is tried with its defaults.
TINY: dict[str, dict[str, Any]] = {
    "vit": {"width": 24, "depth": 2, "heads": 3, "patch_px": 8},
    "beit_vit": {"width": 24, "depth": 2, "heads": 3, "patch_px": 8},
    "clip_vit": {"width": 24, "depth": 2, "heads": 3, "patch_px": 8, "features": 16},
    "lenet": {"hidden": (10,)},
    "minit": {"width": 24, "depth": 2, "heads": 3, "hidden": 16, "block_px": 16, "patch_px": 8},
    "monai": MONAI_RESNET,
    "monai_volume": MONAI_RESNET,
    "nit": {"width": 24, "depth": 2, "heads": 3, "hidden": 16},
    "preact_resnet": {"width": 4},
    "resnet": {"width": 2, "depths": (2, 1, 1, 1), "input_px": 64},
    "robust_cnn": {"width": 4, "depths": (1, 1, 2, 1), "patch_px": 4, "kernel_px": 3},
    "sts_resnet": {"width": 4, "depths": (1, 1), "stem": "small"},
    "timm": {"network": "test_resnet", "arguments": {"output_stride": 8, "zero_init_last": False}},
    "small_cnn": {"widths": (6, 8), "hidden": (10,)},
}
UNFIT = {"resnet": 65}  # which enlarges images to 64 pixels, and shrinks none

every_backbone = pytest.mark.parametrize("name", registry.names("backbones"))
IMAGE_BACKBONES = [n for n in registry.names("backbones") if registry.resolve("backbones", n).need is DataNeed.IMAGE]


def build(name: str, *, seed: int = 0, **settings: Any) -> Backbone:
    with seeded(seed):
        config = registry.resolve("backbones", name).default(**settings)
        backbone = config.build(image_px=IMAGE_PX, channels=CHANNELS)
    assert isinstance(backbone, Backbone)
    return backbone


def tiny(name: str, *, seed: int = 0) -> Backbone:
    return build(name, seed=seed, **TINY.get(name, {}))


def images(name: str, batch: int = 3, seed: int = 0) -> Tensor:
    """What a backbone reads: images, volumes or clips."""
    leading = LEADING[registry.resolve("backbones", name).need]
    return torch.randn(batch, CHANNELS, *leading, IMAGE_PX, IMAGE_PX, generator=torch.Generator().manual_seed(seed))


@every_backbone
def test_it_builds_from_its_defaults(name: str) -> None:
    backbone = build(name).eval()
    assert registry.resolve("backbones", name).default().name == name
    assert backbone(images(name)).shape == (3, backbone.num_features)


@every_backbone
def test_a_wrong_setting_is_refused_by_its_name(name: str) -> None:
    with pytest.raises(ValueError, match="unknown key 'colour'"):
        registry.resolve("backbones", name).default(colour="green")


@pytest.mark.parametrize("name", IMAGE_BACKBONES)
def test_features_of_places_are_as_wide_as_those_of_images(name: str) -> None:
    backbone = tiny(name).eval()
    batch, width, height, breadth = backbone.feature_map(images(name)).shape
    assert (batch, width) == (3, backbone.num_features)
    assert 1 < height <= IMAGE_PX
    assert 1 < breadth <= IMAGE_PX


@every_backbone
def test_images_do_not_see_each_other_in_evaluation(name: str) -> None:
    backbone = tiny(name).eval()
    together = backbone(images(name))
    alone = torch.cat([backbone(image) for image in torch.split(images(name), 1)])
    torch.testing.assert_close(together, alone)


@every_backbone
def test_gradients_reach_every_parameter(name: str) -> None:
    backbone = tiny(name).train()
    (backbone(images(name)) * torch.randn(backbone.num_features)).sum().backward()
    assert [n for n, p in backbone.named_parameters() if p.grad is None or not p.grad.count_nonzero()] == []


@every_backbone
def test_the_same_seed_gives_the_same_network(name: str) -> None:
    once, twice, other = tiny(name).state_dict(), tiny(name).state_dict(), tiny(name, seed=1).state_dict()
    assert all(torch.equal(tensor, twice[key]) for key, tensor in once.items())
    assert not all(torch.equal(tensor, other[key]) for key, tensor in once.items())


@every_backbone
def test_what_was_saved_loads_again(name: str) -> None:
    source, target = tiny(name).eval(), tiny(name, seed=1).eval()
    target.load_state_dict(source.state_dict())
    assert torch.equal(source(images(name)), target(images(name)))


@every_backbone
def test_layers_rise_from_the_embeddings_to_the_head(name: str) -> None:
    backbone = tiny(name)
    layers = [backbone.layer_of(parameter) for parameter, _ in backbone.named_parameters()]
    assert min(layers) == 0
    assert max(layers) <= backbone.num_layers()
    assert set(range(backbone.num_layers())) <= set(layers)


@every_backbone
def test_pooled_modules_are_modules(name: str) -> None:
    backbone = tiny(name)
    assert all(list(backbone.get_submodule(module).parameters()) for module in backbone.pooled)


@every_backbone
def test_every_group_fits_the_tensors_that_it_names(name: str) -> None:
    backbone = tiny(name)
    state = backbone.state_dict()
    for group in backbone.channel_groups():
        for axis in (*group.outputs, *group.inputs):
            assert state[axis.tensor].shape[axis.dim] == axis.tiles * group.channels * axis.unit, (group.name, axis)


@every_backbone
def test_groups_make_a_partition_that_splits_and_merges(name: str) -> None:
    """Every cut tensor, cut by all groups that name it, comes together again bit for bit."""
    backbone = tiny(name)
    state = {key: tensor.numpy() for key, tensor in backbone.state_dict().items()}
    partition = Partition(Manifest.of(state), _rules(backbone), share=Fraction(1, 2))
    shared, private = partition.split(state)
    merged = partition.merge(shared, private)
    assert all((merged[key] == array).all() for key, array in state.items())
    assert all(partition.shared_mask(axis.tensor) is not None for group in _wide(backbone) for axis in group.outputs)


@every_backbone
def test_an_image_of_no_size_that_fits_is_refused(name: str) -> None:
    with pytest.raises(SpecError):
        registry.resolve("backbones", name).default(**TINY.get(name, {})).build(
            image_px=UNFIT.get(name, 3), channels=CHANNELS
        )


def _wide(backbone: Backbone) -> list[ChannelGroup]:
    return [group for group in backbone.channel_groups() if group.channels > 1]


def _rules(backbone: Backbone) -> list[Rule]:
    cuts: dict[str, list[Cut]] = {}
    for group in backbone.channel_groups():
        for axis in (*group.outputs, *group.inputs):
            cuts.setdefault(axis.tensor, []).append(_cut(axis, group.channels))
    rules = [Rule(pattern=key, role=Role.PRIVATE, cuts=tuple(found)) for key, found in cuts.items()]
    return [*rules, Rule(pattern=".*", role=Role.SHARED)]


def _cut(axis: Axis, channels: int) -> Cut:
    return Cut(channels=channels, dims=(axis.dim,), unit=axis.unit, tiles=axis.tiles)
