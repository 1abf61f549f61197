"""The small CNN: its count of parameters, its features, and where it says that its channels are."""

import re
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from fedward_core.errors import SpecError
from fedward_models.backbones.backbone import ChannelGroup
from fedward_models.backbones.small_cnn.config import SmallCNNConfig
from fedward_models.backbones.small_cnn.small_cnn import SmallCNN

LG_CNN: dict[str, Any] = {"widths": (6, 16), "kernel_px": 5, "padding": "valid", "hidden": (120, 100), "norm": "none"}
SETTINGS: list[dict[str, Any]] = [
    {"widths": (4, 6), "hidden": (5,)},
    {"widths": (4, 6), "hidden": (5, 3), "norm": "none"},
    {"widths": (3,), "hidden": (), "padding": "valid"},
    {"widths": (2, 3, 4), "kernel_px": 5, "hidden": ()},
]


def build(image_px: int = 16, channels: int = 1, **settings: Any) -> SmallCNN:
    backbone = SmallCNNConfig(**settings).build(image_px=image_px, channels=channels)
    assert isinstance(backbone, SmallCNN)
    return backbone.eval()


def test_the_network_of_lg_fedavg_has_its_number_of_parameters() -> None:
    """456 + 2,416 + 48,120 + 12,100, and 101 per class in a linear head: 64,102 for ten classes."""
    backbone = build(32, 3, **LG_CNN)
    counts = [sum(p.numel() for p in layer.parameters()) for layer in (*backbone.stages, *backbone.hidden)]
    assert counts == [456, 2_416, 48_120, 12_100]
    assert sum(counts) + 10 * (backbone.num_features + 1) == 64_102


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("image_px", [15, 16])
def test_features_have_the_declared_width(settings: dict[str, Any], image_px: int) -> None:
    backbone = build(image_px, 2, **settings)
    images = torch.randn(3, 2, image_px, image_px)
    assert backbone(images).shape == (3, backbone.num_features)
    assert backbone.feature_map(images).shape == (3, backbone.num_features, backbone.map_px, backbone.map_px)


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("image_px", [12, 20])
def test_the_place_in_the_middle_has_the_features_of_the_image(settings: dict[str, Any], image_px: int) -> None:
    backbone = build(image_px, **settings)
    images = torch.randn(2, 1, image_px, image_px)
    middle = (backbone.map_px - 1) // 2
    torch.testing.assert_close(backbone.feature_map(images)[:, :, middle, middle], backbone(images))


def test_images_too_small_for_the_stages_are_refused() -> None:
    with pytest.raises(SpecError, match="8 pixels are too small for 4 stages"):
        build(8, widths=(2, 2, 2, 2))


@pytest.mark.parametrize("settings", [{"widths": ()}, {"widths": (0,)}, {"kernel_px": 4}, {"norm": "layer"}])
def test_settings_that_make_no_network_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SmallCNNConfig(**settings)


@pytest.mark.parametrize("settings", SETTINGS)
def test_every_entry_with_channels_is_an_output_of_one_group(settings: dict[str, Any]) -> None:
    backbone = build(**settings)
    carried = [axis.tensor for group in backbone.channel_groups() for axis in group.outputs]
    assert sorted(carried) == sorted(name for name, tensor in backbone.state_dict().items() if tensor.ndim)


@pytest.mark.parametrize("settings", SETTINGS)
def test_declared_axes_fit_their_tensors(settings: dict[str, Any]) -> None:
    backbone = build(**settings)
    state = backbone.state_dict()
    for group in backbone.channel_groups():
        for axis in (*group.outputs, *group.inputs):
            assert state[axis.tensor].shape[axis.dim] == group.channels * axis.unit * axis.tiles
    assert [group.feeds_head for group in backbone.channel_groups()][-1]
    assert sum(group.channels * group.head_unit for group in backbone.channel_groups() if group.feeds_head) == (
        backbone.num_features
    )


@pytest.mark.parametrize("settings", SETTINGS)
def test_a_channel_acts_where_its_group_says(settings: dict[str, Any]) -> None:
    """Cutting a channel's output off is the same as making every weight that reads it zero."""
    images = torch.rand(2, 1, 16, 16)
    for index in range(len(build(**settings).channel_groups())):
        backbone = _with_all_channels_active(build(**settings))
        group = backbone.channel_groups()[index]
        silenced = _features_without_output(backbone, group, images)
        assert not torch.allclose(silenced, backbone(images))
        if group.inputs:
            _zero_inputs(backbone, group)
            torch.testing.assert_close(backbone(images), silenced)
        else:
            kept = backbone(images)
            kept[:, -group.head_unit :] = 0
            torch.testing.assert_close(kept, silenced)


def _with_all_channels_active(backbone: SmallCNN) -> SmallCNN:
    for parameter in backbone.parameters():
        parameter.data.abs_()
    return backbone


def _features_without_output(backbone: SmallCNN, group: ChannelGroup, images: torch.Tensor) -> torch.Tensor:
    """Features when the last channel of a group is zero at the group's activations."""
    handles = []
    for place in group.activations:

        def silence(_: Any, __: Any, output: torch.Tensor, dim: int = place.dim) -> torch.Tensor:
            return output.index_fill(dim, torch.tensor([group.channels - 1]), 0)

        handles.append(backbone.get_submodule(place.module).register_forward_hook(silence))
    features = backbone(images)
    for handle in handles:
        handle.remove()
    assert isinstance(features, torch.Tensor)
    return features


def _zero_inputs(backbone: SmallCNN, group: ChannelGroup) -> None:
    for axis in group.inputs:
        weight = backbone.state_dict()[axis.tensor]
        weight[:, -axis.unit :] = 0


def test_flattened_channels_are_runs_of_the_next_layers_inputs() -> None:
    """One changed channel of the last map reaches the columns of its own run and no others."""
    backbone = build(widths=(2, 3), hidden=(4,), norm="none")
    (axis,) = backbone.channel_groups()[1].inputs
    assert (axis.tensor, axis.dim, axis.unit) == ("hidden.0.linear.weight", 1, 16)
    places = torch.zeros(1, 3, 4, 4)
    places[:, 1] = 1
    assert places.flatten(1).nonzero()[:, 1].tolist() == list(range(axis.unit, 2 * axis.unit))


def test_layers_are_counted_from_the_image() -> None:
    backbone = build(widths=(2, 3), hidden=(4,))
    found = {re.match(r"\w+\.\d", name)[0]: backbone.layer_of(name) for name in backbone.state_dict()}  # type: ignore[index]
    assert found == {"stages.0": 0, "stages.1": 1, "hidden.0": 2}
    assert backbone.num_layers() == 3
