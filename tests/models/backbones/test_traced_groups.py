"""Channels that are read off a graph are those that the zoo's own networks declare by hand."""

import re
from fractions import Fraction
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fedward_core import registry
from fedward_core.arrays import Arrays
from fedward_core.channel_cut import Cut
from fedward_core.errors import SpecError
from fedward_core.manifest import Manifest
from fedward_core.partition import Partition, Role, Rule
from fedward_models.backbones.backbone import ChannelGroup
from fedward_models.backbones.traced_groups import traced_groups

DECLARED: dict[str, dict[str, Any]] = {
    "lenet": {"hidden": (10,)},
    "preact_resnet": {"width": 4},
    "small_cnn": {"widths": (6, 8), "hidden": (10,)},
}
IMAGES = torch.zeros(1, 3, 32, 32)


def essence(group: ChannelGroup) -> Any:
    """What is cut, whatever the group is called."""
    return (group.channels, frozenset(group.outputs), frozenset(group.inputs), group.feeds_head, group.head_unit)


@pytest.mark.parametrize("name", DECLARED)
def test_what_is_traced_is_what_was_declared_by_hand(name: str) -> None:
    network = registry.resolve("backbones", name).default(**DECLARED[name]).build(image_px=32, channels=3)
    found, declared = traced_groups(network, IMAGES), network.channel_groups()
    assert {essence(group) for group in found} == {essence(group) for group in declared}


def test_a_depth_wise_layer_in_the_group_of_what_it_reads_cuts_the_same_entries() -> None:
    """The robust CNN declares a group of its own for it; the last channels of both are the same ones."""
    settings = {"width": 4, "depths": (1, 1, 2, 1), "patch_px": 4, "kernel_px": 3}
    network = registry.resolve("backbones", "robust_cnn").default(**settings).build(image_px=32, channels=3)
    state = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    found, declared = (
        partition(groups, state) for groups in (traced_groups(network, IMAGES), network.channel_groups())
    )
    for name in state:
        ours, theirs = found.shared_mask(name), declared.shared_mask(name)
        assert (ours is None) == (theirs is None)
        assert ours is None or theirs is None or (ours == theirs).all()


def partition(groups: tuple[ChannelGroup, ...], state: Arrays) -> Partition:
    """Half of the channels of every group are private."""
    cuts: dict[str, list[Cut]] = {}
    for group in groups:
        for axis in (*group.outputs, *group.inputs):
            cut = Cut(channels=group.channels, dims=(axis.dim,), unit=axis.unit, tiles=axis.tiles)
            cuts.setdefault(axis.tensor, []).append(cut)
    rules = [Rule(pattern=re.escape(name), role=Role.PRIVATE, cuts=tuple(found)) for name, found in cuts.items()]
    everything_else = Rule(pattern=".*", role=Role.SHARED)
    return Partition(Manifest.of(state), [*rules, everything_else], share=Fraction(1, 2))


class Net(nn.Module):
    """Two convolutions, and whatever is asked for between them."""

    def __init__(self, between: Any, inputs: int = 6) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(inputs, 4, 1)
        self.norm = nn.GroupNorm(2, 6)
        self.scale = nn.Parameter(torch.ones(6, 1, 1))
        self.between = between

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.last(self.between(self, self.first(images)))
        return features.mean(dim=(2, 3))


@pytest.mark.parametrize(
    ("between", "inputs", "what"),
    [
        (lambda _, x: torch.cat([x, x], dim=1), 12, "cat"),
        (lambda net, x: net.norm(x), 6, "GroupNorm"),
        (lambda net, x: x * net.scale, 6, "scale"),
        (lambda _, x: x.softmax(dim=1), 6, "softmax"),
        (lambda _, x: x.mean(dim=1, keepdim=True), 1, "mean"),
        (lambda _, x: x if x.sum() > 0 else -x, 6, "decisions"),
        (lambda net, x: net.first(x[:, :3]), 6, "getitem"),
        (lambda net, x: net.first(net.first(x).reshape(1, 3, 64, 32)), 6, "decisions|shape|twice"),
    ],
)
def test_what_mixes_channels_is_refused_by_its_name(between: Any, inputs: int, what: str) -> None:
    with pytest.raises(SpecError, match=what):
        traced_groups(Net(between, inputs), IMAGES)


def test_a_gate_over_channels_belongs_to_what_it_gates() -> None:
    class Gated(Net):
        def __init__(self) -> None:
            super().__init__(None)
            self.narrow, self.wide = nn.Conv2d(6, 2, 1), nn.Conv2d(2, 6, 1)

        def forward(self, images: Tensor) -> Tensor:
            x = self.first(images)
            gate = self.wide(self.narrow(x.mean((2, 3), keepdim=True)).relu()).sigmoid()
            features: Tensor = self.last(x * gate)
            return features.mean(dim=(2, 3))

    groups = {group.name: group for group in traced_groups(Gated(), IMAGES)}
    assert groups.keys() == {"first", "narrow", "last"}
    written = {axis.tensor for axis in groups["first"].outputs}
    assert written == {"first.weight", "first.bias", "wide.weight", "wide.bias"}
    assert {axis.tensor for axis in groups["first"].inputs} == {"narrow.weight", "last.weight"}
    assert [group.name for group in groups.values() if group.feeds_head] == ["last"]


def test_a_network_stays_in_the_mode_it_was_in() -> None:
    network = Net(lambda _, x: x.relu())
    for training in (True, False):
        network.train(training)
        traced_groups(network, IMAGES)
        assert network.training is training
