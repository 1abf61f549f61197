"""What every registered personalisation keeps, over every kind of network: partitions are whole, shares never fall."""

import copy
from collections.abc import Iterator
from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

from fedward_core import registry
from fedward_core.arrays import Array
from fedward_core.cards import Contract
from fedward_core.config import Config
from fedward_core.partition import Partition
from fedward_core.spec import Local, PersonalisationConfig
from fedward_models.batch import Batch
from fedward_models.building import manifest_of
from fedward_models.method import Method
from fedward_models.step import Clock
from fedward_models.training.config import SGDConfig
from fedward_models.training.fit import fit
from fedward_models.weights import arrays_of

NETWORKS: dict[str, dict[str, Any]] = {
    "preact_resnet": {"width": 2},
    "robust_cnn": {"width": 2, "depths": (1, 1), "strides": (1, 2), "patch_px": 2},
    "small_cnn": {"widths": (2, 3), "hidden": (4,)},
    "vit": {"width": 8, "depth": 1, "heads": 2, "patch_px": 4},
}
SHARES = [Fraction(0), Fraction(1, 3), Fraction(1)]
everywhere = pytest.mark.parametrize(
    ("name", "network"), [(name, network) for name in registry.names("personalisations") for network in NETWORKS]
)


def personalisation(name: str) -> PersonalisationConfig:
    config = registry.resolve("personalisations", name).default()
    assert isinstance(config, PersonalisationConfig)
    return config


@cache
def method_over(network: str, name: str = "") -> Method:
    """A method, extended by a personalisation if one is named."""
    torch.manual_seed(0)
    backbone: Config = registry.resolve("backbones", network).default(**NETWORKS[network])
    method = (
        registry.resolve("methods", "supervised")
        .default()
        .build(backbone=backbone.build(image_px=8, channels=1), contract=Contract(classes=("a", "b", "c")))
    )
    assert isinstance(method, Method)
    if name:
        personalisation(name).build().extend(method)
    return method


def partitions(name: str, network: str) -> Iterator[Partition]:
    method = method_over(network, name)
    partition = Partition(manifest_of(method), personalisation(name).build().rules(method))
    return (partition.at(share) for share in SHARES)


@everywhere
def test_rules_cover_every_entry(name: str, network: str) -> None:
    for partition in partitions(name, network):
        assert {entry: partition.role(entry) for entry in method_over(network, name).state_dict()}


@everywhere
def test_merge_inverts_split(name: str, network: str) -> None:
    state = arrays_of(method_over(network, name))
    for partition in partitions(name, network):
        whole = partition.merge(*partition.split(state))
        assert list(whole) == list(state)
        assert all(np.array_equal(whole[entry], state[entry]) for entry in state)


@everywhere
def test_what_is_private_never_changes_what_is_sent(name: str, network: str) -> None:
    state = arrays_of(method_over(network, name))
    for partition in partitions(name, network):
        shared, private = partition.split(state)
        poisoned = partition.merge(shared, {entry: _poisoned(array) for entry, array in private.items()})
        again = partition.split(poisoned)[0]
        assert shared.keys() == again.keys()
        assert all(np.array_equal(shared[entry], again[entry]) for entry in shared)


def _poisoned(array: Array) -> Array:
    return np.full_like(array, np.nan if array.dtype.kind == "f" else -1)


@everywhere
def test_a_share_of_one_sends_nothing(name: str, network: str) -> None:
    partition = list(partitions(name, network))[-1]
    assert partition.shared_manifest.entries == ()
    assert partition.split(arrays_of(method_over(network, name)))[0] == {}


@everywhere
def test_something_stays_that_would_travel_without_it(name: str, network: str) -> None:
    """At the share of the last round; a personalisation without effect would be none."""
    method, config = method_over(network, name), personalisation(name)
    rules, share = config.build().rules(method), config.share_at(9, 10)
    personal = Partition(manifest_of(method), rules, share=share).shared_manifest
    assert personal != Partition(manifest_of(method), method.rules()).shared_manifest


@everywhere
def test_a_round_trains_something_in_each_phase_and_gives_back_what_it_changed(name: str, network: str) -> None:
    method = copy.deepcopy(method_over(network, name))
    partition = Partition(
        manifest_of(method), personalisation(name).build().rules(method), share=personalisation(name).share_at(9, 10)
    )
    local = Local(optimizer=SGDConfig(lr=0.05, momentum=0.0))
    phases = personalisation(name).build().phases(method, partition, local=local, terms=(), joining=True)
    before = {entry: tensor.clone() for entry, tensor in method.state_dict().items()}
    modes = [(module.training, id(module)) for module in method.modules()]
    report = fit(method, OneBatch(), phases, round_=1, rounds=10, seed=0, device=torch.device("cpu"))
    assert report.num_steps >= len(phases)
    assert any(not torch.equal(tensor, before[entry]) for entry, tensor in method.state_dict().items())
    assert modes == [(module.training, id(module)) for module in method.modules()]
    assert all(parameter.grad is None for parameter in method.parameters())


@everywhere
def test_what_is_evaluated_predicts_probabilities(name: str, network: str) -> None:
    method = copy.deepcopy(method_over(network, name)).eval()
    partition = Partition(
        manifest_of(method), personalisation(name).build().rules(method), share=personalisation(name).share_at(9, 10)
    )
    predicted = personalisation(name).build().evaluated(method, partition).predict(torch.randn(4, 1, 8, 8))
    torch.testing.assert_close(predicted.sum(dim=1), torch.ones(4))


class OneBatch:
    """Six images in one batch."""

    num_examples = 6
    num_steps = 1

    def epoch(self, seed: int) -> Iterator[Batch]:
        rng = torch.Generator().manual_seed(seed)
        yield Batch(images=torch.randn(6, 1, 8, 8, generator=rng), labels=torch.arange(6) % 3)


@pytest.mark.parametrize("name", registry.names("personalisations"))
@pytest.mark.parametrize("rounds", [1, 2, 7])
def test_the_share_is_exact_between_none_and_all_and_never_falls(name: str, rounds: int) -> None:
    shares = [personalisation(name).share_at(round_, rounds) for round_ in range(rounds)]
    assert all(isinstance(share, Fraction) and 0 <= share <= 1 for share in shares)
    assert shares == sorted(shares)


@everywhere
def test_rules_are_the_same_when_made_twice(name: str, network: str) -> None:
    method = method_over(network, name)
    assert personalisation(name).build().rules(method) == personalisation(name).build().rules(method)


@everywhere
def test_terms_are_finite_and_leave_the_state_alone(name: str, network: str) -> None:
    method = method_over(network, name).train()
    batch = Batch(images=torch.randn(4, 1, 8, 8), labels=torch.tensor([0, 1, 2, 0]))
    output = method.training_step(batch, Clock())
    before = {entry: tensor.clone() for entry, tensor in method.state_dict().items()}
    for partition in partitions(name, network):
        for term in personalisation(name).build().terms(method, partition):
            term.begin(method)
            loss = term.loss(method, batch, output)
            assert loss is None or loss.isfinite()
    assert all(torch.equal(tensor, before[entry]) for entry, tensor in method.state_dict().items())
