"""Channel decoupling over whole rounds: what it reduces to, what travels, and who keeps what."""

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch

from fedward_core.arrays import Array, digest
from fedward_core.errors import DivergedError
from fedward_core.partition import Partition, Role
from fedward_models.method import Method
from fedward_models.training.terms import LocalTerm

Federate = Callable[..., Any]

PLAIN: dict[str, Any] = {"name": "channel_decoupling", "temporal_averaging": None}
SHARED_AND_PRIVATE: dict[str, Any] = {**PLAIN, "private": 0.5, "ramp_rounds": 0}
WITHOUT_NORMS = {"widths": (4, 6), "hidden": (6,), "norm": "none"}
MARK = 1e30
COUPLINGS = ["rows", "block", "branch"]


def same(left: dict[str, Array], right: dict[str, Array]) -> bool:
    """Equal bit for bit, but for counters of batches."""
    return digest(floats(left)) == digest(floats(right))


def floats(arrays: dict[str, Array]) -> dict[str, Array]:
    return {name: array for name, array in arrays.items() if array.dtype.kind == "f"}


@pytest.mark.parametrize("coupling", ["rows", "block"])
@pytest.mark.parametrize("distillation", [0.0, 0.5])
def test_no_private_channel_is_plain_averaging_bit_for_bit(
    federate: Federate, coupling: str, distillation: float
) -> None:
    personal = {**PLAIN, "private": 0, "coupling": coupling, "distillation": distillation}
    decoupled, plain = federate(personal).run(3), federate().run(3)
    assert decoupled.digest == plain.digest


@pytest.mark.parametrize("coupling", COUPLINGS)
def test_all_private_is_training_alone_bit_for_bit_and_sends_nothing(federate: Federate, coupling: str) -> None:
    personal = {**PLAIN, "private": 1, "ramp_rounds": 0, "coupling": coupling}
    decoupled, alone = federate(personal).run(3), federate("local_only").run(3)
    for site in decoupled.sites:
        single = federate(sites={site: decoupled.sites[site]}).run(3)
        assert same(decoupled.personal(site), alone.personal(site))
        assert same(decoupled.personal(site), single.personal(site))
    assert all(update.shared == {} for update in decoupled.received.values())
    assert (
        sum(array.nbytes for (round_, _), arrays in decoupled.sent.items() if round_ for array in arrays.values()) == 0
    )


class Mark(LocalTerm):
    """Marks everything that is private with a huge number, after the last step of a round and before its update."""

    def __init__(self, partition: Partition) -> None:
        self.partition = partition

    def end(self, method: Method) -> None:
        for name, tensor in method.state_dict().items():
            shared = self.partition.shared_mask(name)
            if self.partition.role(name) is Role.PRIVATE and tensor.dtype.is_floating_point:
                tensor.fill_(MARK)
            elif shared is not None:
                tensor[torch.from_numpy(~shared)] = MARK


@pytest.mark.parametrize("coupling", COUPLINGS)
@pytest.mark.parametrize("norms", ["follow", "local"])
@pytest.mark.parametrize("round_", range(4))
def test_no_private_entry_is_in_any_message(federate: Federate, coupling: str, norms: str, round_: int) -> None:
    personal = {**PLAIN, "private": 0.5, "ramp_rounds": 2, "coupling": coupling, "norms": norms}
    federation = federate(personal).run(round_)
    partition = federation.plan.partition(federation.stage.share_at(round_))
    terms = federation.personalisation.terms
    federation.personalisation.terms = lambda *known: (*terms(*known), Mark(partition))
    federation.run(1)
    for site in federation.sites:
        update, private = federation.received[round_, site], federation.stores[site].entries
        assert all(np.abs(array).max() < MARK for array in update.shared.values())
        assert all(abs(figure) < MARK for figure in update.metrics.values())
        kept = list(private.values())[-1].arrays.values() if private else ()
        assert round_ == 0 or any(np.abs(array).max() == np.float32(MARK) for array in kept)
    assert all(np.abs(array).max() < MARK for array in federation.weights.values())


@pytest.mark.parametrize("coupling", COUPLINGS)
def test_messages_hold_what_travels_at_their_round_and_nothing_else(federate: Federate, coupling: str) -> None:
    federation = federate({**PLAIN, "private": 0.5, "ramp_rounds": 3, "coupling": coupling}).run(4)
    for (round_, site), update in federation.received.items():
        assert shapes(update.shared) == travelling(federation, round_)
        if round_:
            assert shapes(federation.sent[round_, site]) == travelling(federation, round_ - 1)


def shapes(arrays: dict[str, Array]) -> dict[str, tuple[int, ...]]:
    return {name: array.shape for name, array in arrays.items()}


def travelling(federation: Any, round_: int) -> dict[str, tuple[int, ...]]:
    partition = federation.plan.partition(federation.stage.share_at(round_))
    return {entry.name: entry.shape for entry in partition.shared_manifest.entries}


@pytest.mark.parametrize("coupling", COUPLINGS)
def test_after_a_round_sites_agree_on_what_is_shared_and_differ_in_what_is_private(
    federate: Federate, coupling: str
) -> None:
    federation = federate({**SHARED_AND_PRIVATE, "coupling": coupling}).run(2)
    partition = federation.plan.partition(Fraction(1, 2))
    halves = [partition.split(federation.personal(site)) for site in federation.sites]
    assert len({digest(shared) for shared, _ in halves}) == 1
    assert len({digest(private) for _, private in halves}) == len(halves)


def test_what_is_shared_becomes_the_mean_weighted_by_images_and_what_is_private_stays(federate: Federate) -> None:
    federation = federate(SHARED_AND_PRIVATE, sites={"a": 4, "b": 12}).run(1)
    partition = federation.plan.partition(Fraction(1, 2))
    shared = partition.split(federation.weights)[0]
    light, heavy = (federation.received[0, site].shared for site in ("a", "b"))
    for name, array in shared.items():
        np.testing.assert_allclose(array, 0.25 * light[name] + 0.75 * heavy[name], rtol=1e-5, atol=1e-6)
    for site, store in federation.stores.items():
        (entry,) = store.entries.values()
        kept = {name.removeprefix("weights/"): array for name, array in entry.arrays.items()}
        assert digest(partition.split(federation.personal(site))[1]) == digest(kept)


def test_sites_that_weigh_alike_give_the_plain_mean(federate: Federate) -> None:
    aggregate = {"name": "weighted_mean", "weigh_by": "sites"}
    federation = federate(SHARED_AND_PRIVATE, sites={"a": 4, "b": 12}, aggregate=aggregate).run(1)
    shared = federation.plan.partition(Fraction(1, 2)).split(federation.weights)[0]
    light, heavy = (federation.received[0, site].shared for site in ("a", "b"))
    for name, array in shared.items():
        np.testing.assert_allclose(array, (light[name] + heavy[name]) / 2, rtol=1e-5, atol=1e-6)


def test_a_site_that_returns_gets_what_is_newest_and_keeps_what_is_its_own(federate: Federate) -> None:
    federation = federate(SHARED_AND_PRIVATE, rounds=5).run(1)
    partition = federation.plan.partition(Fraction(1, 2))
    before = partition.split(federation.personal("north"))
    federation.run(3, taking_part=["east", "south"])
    shared, private = partition.split(federation.personal("north"))
    assert digest(private) == digest(before[1])
    assert digest(shared) == digest(partition.split(federation.weights)[0]) != digest(before[0])
    federation.run(1)
    assert digest(federation.sent[4, "north"]) == digest(shared)


def test_a_site_that_returns_after_the_share_grew_keeps_what_it_trained_and_takes_the_rest(federate: Federate) -> None:
    federation = federate({**PLAIN, "private": 0.5, "ramp_rounds": 2}, rounds=6).run(2)
    before = federation.plan.partition(federation.stage.share_at(1)).split(federation.personal("north"))[1]
    federation.run(3, taking_part=["east", "south"])
    then = federation.plan.partition(federation.stage.share_at(1)).split(federation.personal("north"))
    assert digest(then[1]) == digest(before)
    federation.run(1)
    assert shapes(federation.received[5, "north"].shared) == travelling(federation, 5)


@pytest.mark.parametrize("warmup_epochs", [0, 1, 2])
def test_a_site_that_joins_starts_from_the_last_averages_and_warms_up(federate: Federate, warmup_epochs: int) -> None:
    personal = {**SHARED_AND_PRIVATE, "warmup_epochs": warmup_epochs}
    federation = federate(personal, rounds=4).run(2, taking_part=["east", "south"])
    weights = {name: array.copy() for name, array in federation.weights.items()}
    federation.run(1)
    assert digest(federation.sent[2, "north"]) == digest(weights)
    steps = {site: federation.received[2, site].num_steps for site in federation.sites}
    assert steps == {"east": 1, "north": (1 + warmup_epochs) * 3, "south": 2}
    federation.run(1)
    assert federation.received[3, "north"].num_steps == 3


def test_a_channel_starts_its_private_life_from_the_value_just_downloaded(federate: Federate) -> None:
    """The server keeps the last average, frozen, for sites that join later."""
    federation = federate({**PLAIN, "private": 0.5, "ramp_rounds": 2}, rounds=4).run(1)
    average = {name: array.copy() for name, array in federation.weights.items()}
    assert all(same(federation.personal(site), average) for site in federation.sites)
    federation.run(1)
    partition = federation.plan.partition(federation.stage.share_at(1))
    last = partition.split(average)[1]
    federation.run(2)
    frozen = partition.split(federation.weights)[1]
    assert all(np.array_equal(frozen[name], last[name]) for name in last)


def test_statistics_of_shared_channels_are_averaged_and_of_private_ones_are_not(federate: Federate) -> None:
    federation = federate(SHARED_AND_PRIVATE, sites={"a": 8, "b": 8}).run(1)
    name = "backbone.stages.0.norm.running_mean"
    first, second = (federation.personal(site)[name] for site in ("a", "b"))
    assert np.array_equal(first[:2], second[:2])
    assert not np.isclose(first[2:], second[2:]).any()
    light, heavy = (federation.received[0, site].shared[name] for site in ("a", "b"))
    np.testing.assert_allclose(first[:2], (light + heavy) / 2, rtol=1e-5)


def test_without_distillation_the_halves_are_never_computed_and_change_no_bit(federate: Federate) -> None:
    """A weight of zero trains as if the passes were made and thrown away; other tests make them and see the same."""
    quiet = federate({**SHARED_AND_PRIVATE, "distillation": 0}).run(2)
    terms = quiet.personalisation.terms(quiet.method, quiet.plan.partition(Fraction(1, 2)))
    assert terms == ()
    loud = federate({**SHARED_AND_PRIVATE, "distillation": 0.5}).run(2)
    assert quiet.digest != loud.digest


@pytest.mark.parametrize(
    ("personalise", "private"),
    [({"name": "fedper"}, "head."), ({"name": "lg_fedavg", "private_layers": 2}, "backbone.stages.")],
)
def test_the_same_engine_with_whole_layers_is_fedper_and_lg_fedavg(
    federate: Federate, personalise: dict[str, Any], private: str
) -> None:
    """Against a slow twin: plain averaging after which each site puts its private layers back."""
    federation, rounds = federate(personalise, network=WITHOUT_NORMS), 3
    own = {site: dict(federation.weights) for site in federation.sites}
    for round_ in range(rounds):
        federation.run(1)
        trained = {}
        for site in federation.sites:
            single = federate(network=WITHOUT_NORMS, sites={site: federation.sites[site]})
            single.weights, single.round = own[site], round_
            trained[site] = single.run(1).weights
        total = sum(federation.sites.values())
        mean = {n: sum(federation.sites[s] / total * trained[s][n] for s in trained) for n in federation.weights}
        own = {s: {n: trained[s][n] if n.startswith(private) else mean[n] for n in mean} for s in trained}
    for site in federation.sites:
        found = federation.personal(site)
        for name, array in own[site].items():
            np.testing.assert_allclose(found[name], array, rtol=1e-4, atol=1e-6)


def test_a_site_with_fewer_images_than_a_batch_takes_part_with_one_batch(federate: Federate) -> None:
    federation = federate(SHARED_AND_PRIVATE, sites={"large": 8, "small": 3}).run(2)
    assert federation.received[1, "small"].num_steps == 1
    assert all(np.isfinite(array).all() for array in federation.weights.values())


def test_training_that_is_no_longer_finite_is_said_in_plain_words(federate: Federate) -> None:
    local = {"optimizer": {"name": "sgd", "lr": 1e30}}
    with pytest.raises(DivergedError, match=r"not finite .* lower the learning rate"):
        federate(SHARED_AND_PRIVATE, local=local).run(4)
