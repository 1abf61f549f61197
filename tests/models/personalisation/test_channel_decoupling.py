"""What channel decoupling shares: counts by closed form, nested shares, flattened maps, norms, and its limits."""

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedward_core.arrays import Array
from fedward_core.cards import Contract, Task
from fedward_core.channel_cut import private_channels
from fedward_core.errors import SpecError
from fedward_core.partition import Partition, Role
from fedward_models.backbones.small_cnn.config import SmallCNNConfig
from fedward_models.building import manifest_of
from fedward_models.method import Method
from fedward_models.methods.supervised.config import SupervisedConfig
from fedward_models.personalisation.config import ChannelDecouplingConfig
from fedward_models.personalisation.distillation import CyclicDistillation

SHARES = [Fraction(0), Fraction(1, 4), Fraction(1, 2), Fraction(1)]
LG_CNN: dict[str, Any] = {"widths": (6, 16), "kernel_px": 5, "padding": "valid", "hidden": (120, 100), "norm": "none"}
TINY: dict[str, Any] = {"widths": (3, 4), "hidden": (5,)}


def method_with(backbone: dict[str, Any], *, image_px: int = 8, channels: int = 1, classes: int = 3) -> Method:
    network = SmallCNNConfig(**backbone).build(image_px=image_px, channels=channels)
    contract = Contract(classes=tuple(f"class {n}" for n in range(classes)), channels=channels)
    method = SupervisedConfig().build(backbone=network, contract=contract)
    assert isinstance(method, Method)
    return method


def partition_of(method: Method, share: Fraction, **values: Any) -> Partition:
    rules = ChannelDecouplingConfig(**values).build().rules(method)
    return Partition(manifest_of(method), rules, share=share)


def numbered(partition: Partition) -> dict[str, Array]:
    """A state in which every entry has a number of its own."""
    state, start = {}, 0
    for entry in partition.manifest.entries:
        size = int(np.prod(entry.shape))
        state[entry.name] = np.arange(start, start + size).reshape(entry.shape)
        start += size
    return state


@pytest.mark.parametrize("coupling", ["rows", "block", "branch"])
@pytest.mark.parametrize("share", SHARES)
def test_shared_and_private_entries_are_all_entries_and_none_twice(share: Fraction, coupling: str) -> None:
    partition = partition_of(method_with(LG_CNN, image_px=32, channels=3, classes=10), share, coupling=coupling)
    shared, private = partition.split(numbered(partition))
    found = np.concatenate([array.ravel() for half in (shared, private) for array in half.values()])
    assert np.array_equal(np.sort(found), np.arange(64_102))


@pytest.mark.parametrize("coupling", ["rows", "block", "branch"])
@pytest.mark.parametrize("share", SHARES)
def test_the_number_of_shared_entries_has_a_closed_form(share: Fraction, coupling: str) -> None:
    """Rows of shared channels with their biases, the classifier's columns of shared features, and its bias.

    Under the other couplings, of each row only what reads shared channels.
    """
    partition = partition_of(method_with(LG_CNN, image_px=32, channels=3, classes=10), share, coupling=coupling)
    shared = sum(array.size for array in partition.split(numbered(partition))[0].values())
    kept = [int(width - (share * width + Fraction(1, 2)) // 1) for width in (6, 16, 120, 100)]
    read = (6, 16, 120) if coupling == "rows" else kept
    row_sizes = (3 * 25 + 1, read[0] * 25 + 1, read[1] * 25 + 1, read[2] + 1)
    classifier = 10 * kept[-1] + 10
    expected = sum(rows * size for rows, size in zip(kept, row_sizes, strict=True)) + classifier
    assert shared == (expected if share < 1 else 0)


@pytest.mark.parametrize(
    ("coupling", "layers", "total"),
    [("rows", (228, 1_208, 24_060, 6_050), 32_056), ("block", (228, 608, 12_060, 3_050), 16_456)],
)
def test_half_of_the_network_of_lg_fedavg_shares_as_many_entries_as_the_paper_network_should(
    coupling: str, layers: tuple[int, ...], total: int
) -> None:
    method = method_with(LG_CNN, image_px=32, channels=3, classes=10)
    partition = partition_of(method, Fraction(1, 2), coupling=coupling)
    shared = partition.split(numbered(partition))[0]
    for layer, count in zip(("stages.0", "stages.1", "hidden.0", "hidden.1"), layers, strict=True):
        assert sum(array.size for name, array in shared.items() if layer in name) == count
    assert (shared["head.weight"].size, shared["head.bias"].size) == (500, 10)
    assert sum(array.size for array in shared.values()) == total


@pytest.mark.parametrize(("classes", "parameters"), [(10, 64_102), (100, 73_192)])
def test_the_network_of_lg_fedavg_has_as_many_parameters_as_published(classes: int, parameters: int) -> None:
    method = method_with(LG_CNN, image_px=32, channels=3, classes=classes)
    assert sum(parameter.numel() for parameter in method.parameters()) == parameters
    assert [group.channels for group in method.backbone.channel_groups()] == [6, 16, 120, 100]
    assert [private_channels(n, Fraction(1, 2)) for n in (6, 16, 120, 100)] == [3, 8, 60, 50]


@settings(max_examples=25, deadline=None)
@given(first=st.fractions(0, 1), second=st.fractions(0, 1))
def test_what_was_private_stays_private_when_the_share_grows(first: Fraction, second: Fraction) -> None:
    partition = partition_of(method_with(TINY), min(first, second))
    state = numbered(partition)
    before = set(np.concatenate([a.ravel() for a in partition.split(state)[1].values()] or [np.array([])]))
    after = partition.at(max(first, second)).split(state)[1]
    assert before <= set(np.concatenate([a.ravel() for a in after.values()] or [np.array([])]))


def test_a_channel_keeps_its_value_when_it_turns_private() -> None:
    partition = partition_of(method_with(TINY), Fraction(1, 4))
    state = numbered(partition)
    whole = partition.merge(*partition.split(state))
    later = partition.at(Fraction(1, 2))
    again = later.merge(*later.split(whole))
    assert all(np.array_equal(again[name], state[name]) for name in state)


def test_private_columns_over_a_flattened_map_are_those_that_a_private_channel_reaches() -> None:
    method = method_with({"widths": (3, 4), "hidden": (), "norm": "none"}, image_px=8)
    mask = partition_of(method, Fraction(1, 4)).shared_mask("head.weight")
    assert mask is not None
    images = torch.rand(2, 1, 8, 8)
    for parameter in method.parameters():
        parameter.data.abs_()
    before = method.backbone(images)
    method.backbone.state_dict()["stages.1.conv.weight"][-1] += 1  # the one private channel of four
    changed = (method.backbone(images) != before).all(dim=0)
    assert changed.sum() == 4
    assert np.array_equal(mask, np.tile(~changed.numpy(), (3, 1)))


def test_norms_and_their_statistics_follow_their_channel() -> None:
    partition = partition_of(method_with(TINY), Fraction(1, 4))
    for entry in ("weight", "bias", "running_mean", "running_var"):
        mask = partition.shared_mask(f"backbone.stages.1.norm.{entry}")
        assert mask is not None
        assert mask.tolist() == [True, True, True, False]
    assert partition.role("backbone.stages.1.norm.num_batches_tracked") is Role.PRIVATE


def test_local_norms_are_private_from_the_first_round_on_and_the_rest_is_cut() -> None:
    partition = partition_of(method_with(TINY), Fraction(0), norms="local")
    private = {name for name in partition.manifest.names() if partition.role(name) is Role.PRIVATE}
    assert private == {name for name in partition.manifest.names() if ".norm." in name}
    assert partition.at(Fraction(1, 2)).shared_mask("backbone.stages.0.conv.weight") is not None


def test_local_norms_without_norms_are_refused() -> None:
    with pytest.raises(SpecError, match="has none"):
        partition_of(method_with({**TINY, "norm": "none"}), Fraction(0), norms="local")


def test_the_bias_of_the_classifier_is_shared_until_everything_is_private() -> None:
    partition = partition_of(method_with(TINY), Fraction(3, 4))
    assert partition.shared_mask("head.bias") is None
    assert partition.role("head.bias") is Role.SHARED
    assert partition.at(Fraction(1)).role("head.bias") is Role.PRIVATE


def test_no_private_channel_is_plain_averaging_and_no_shared_one_sends_nothing() -> None:
    method = method_with(TINY)
    partition = partition_of(method, Fraction(0))
    assert partition.shared_manifest == Partition(manifest_of(method), method.rules()).shared_manifest
    assert partition.at(Fraction(1)).shared_manifest.entries == ()


@pytest.mark.parametrize("share", [Fraction(0), Fraction(1)])
def test_there_is_no_distillation_where_a_half_is_missing(share: Fraction) -> None:
    assert not distils(method_with(TINY), share)


def test_there_is_no_distillation_at_weight_zero() -> None:
    assert not distils(method_with(TINY), Fraction(1, 2), distillation=0)
    assert distils(method_with(TINY), Fraction(1, 2))


def distils(method: Method, share: Fraction, **values: Any) -> bool:
    terms = ChannelDecouplingConfig(**values).build().terms(method, partition_of(method, share))
    return any(isinstance(term, CyclicDistillation) for term in terms)


def test_a_layer_of_one_channel_cannot_be_divided_and_is_named() -> None:
    method = method_with({"widths": (3, 1), "hidden": (5,)})
    with pytest.raises(SpecError, match=r"'stages\.1' has a single channel"):
        partition_of(method, Fraction(1, 2))
    for private in (0.0, 1.0):
        partition_of(method, Fraction(str(private)), private=private, ramp_rounds=None)


class WithoutLogits(Method):
    """A method that predicts no classes, around a backbone."""

    def __init__(self, method: Method) -> None:
        super().__init__()
        self.backbone = method.backbone

    training_step = predict = evaluation_loss = inherit = None  # type: ignore[assignment]


@pytest.mark.parametrize("kind", ["no logits", "several labels at once"])
def test_distillation_needs_exclusive_classes(kind: str) -> None:
    method = method_with(TINY)
    if kind == "no logits":
        method = WithoutLogits(method)
    else:
        contract = Contract(classes=("a", "b"), task=Task.MULTI_LABEL)
        method = SupervisedConfig().build(backbone=method.backbone, contract=contract)
    with pytest.raises(SpecError, match="set distillation: 0"):
        ChannelDecouplingConfig().build().rules(method)
    rules = ChannelDecouplingConfig(distillation=0).build().rules(method)
    assert (
        Partition(manifest_of(method), rules, share=Fraction(1, 2)).shared_mask("backbone.stages.0.conv.weight")
        is not None
    )
