"""The contract of every registered aggregator."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedward_core import registry
from fedward_core.aggregation.base import Aggregator
from fedward_core.aggregation.config import FedAdamConfig, FedAvgMConfig, TrimmedMeanConfig
from fedward_core.aggregation.weighted_mean import BLOCK, move_towards
from fedward_core.arrays import Array, digest
from fedward_core.errors import RoundError
from fedward_core.manifest import Manifest
from fedward_core.update import SHARED, Update

NAMES = registry.names("aggregators")
MEANS = ("median", "trimmed_mean", "weighted_mean")
SERVER_OPTIMISERS = ("fedadam", "fedavgm")
# Awkward sizes: a number, a vector, more than one block of the running mean and a little, and nothing at all.
SHAPES = {"scalar": (), "vector": (3,), "matrix": (BLOCK + 7, 2), "empty": (0, 4), "buffer": (5,)}
PARAMETERS = frozenset(SHAPES) - {"buffer"}


def weights(seed: int) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    return {name: np.asarray(rng.normal(size=shape), np.float32) for name, shape in SHAPES.items()}


def update_of(shared: dict[str, Array], *, site: str = "a", num_examples: int = 1) -> Update:
    """An update with arrays of its own, for an aggregator may change them."""
    copies = {name: array.copy() for name, array in shared.items()}
    groups = {SHARED: copies, "extra": {"other": np.ones(2, np.float32)}}
    return Update(site=site, round=0, parent="p", num_examples=num_examples, num_steps=1, groups=groups)


def build(name: str, **values: Any) -> Aggregator:
    aggregator: Aggregator = registry.resolve("aggregators", name).default(**values).build()
    return aggregator


def play(aggregator: Aggregator, current: dict[str, Array], updates: list[Update]) -> dict[str, Array]:
    """One round."""
    aggregator.begin(Manifest.of(current, parameters=PARAMETERS))
    for update in updates:
        aggregator.add(update)
    return aggregator.finish(current)


def sites(seed: int, count: int = 6) -> list[Update]:
    return [update_of(weights(seed + i), site=f"site{i}", num_examples=i + 1) for i in range(count)]


def assert_close(left: dict[str, Array], right: dict[str, Array], tolerance: float = 1e-5) -> None:
    assert left.keys() == right.keys()
    for name, array in left.items():
        np.testing.assert_allclose(array, right[name], rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", NAMES)
def test_names_shapes_and_types_are_kept(name: str) -> None:
    current = weights(0)
    result = play(build(name), current, sites(1))
    assert {key: (array.shape, array.dtype) for key, array in result.items()} == {
        key: (array.shape, array.dtype) for key, array in current.items()
    }


@pytest.mark.parametrize("name", MEANS)
def test_identical_updates_give_themselves_bit_for_bit(name: str) -> None:
    same = weights(1)
    updates = [update_of(same, num_examples=n) for n in (3, 1, 7, 2, 5)]
    assert digest(play(build(name), weights(0), updates)) == digest(same)


@pytest.mark.parametrize("name", SERVER_OPTIMISERS)
def test_updates_that_move_nothing_leave_the_weights_where_they_are(name: str) -> None:
    current = weights(0)
    result = play(build(name), current, [update_of(current, num_examples=n) for n in (3, 1, 7)])
    assert digest(result) == digest(current)


@pytest.mark.parametrize("name", NAMES)
def test_order_of_arrival_does_not_matter_once_sorted_by_site(name: str) -> None:
    def run(order: list[int]) -> str:
        arrived = [sites(1)[i] for i in order]
        return digest(play(build(name), weights(0), sorted(arrived, key=lambda update: update.site)))

    assert run([0, 1, 2, 3, 4, 5]) == run([5, 3, 1, 0, 2, 4])


@pytest.mark.parametrize("name", NAMES)
def test_a_saved_and_loaded_state_goes_on_with_the_same_bits(name: str) -> None:
    whole, first, second = build(name), build(name), build(name)
    current = play(whole, weights(0), sites(1))
    play(first, weights(0), sites(1))
    arrays, facts = first.state()
    saved = {key: array.copy() for key, array in arrays.items()}
    play(first, current, sites(9))  # what the first one does from here on must not reach what was saved
    assert digest(arrays) == digest(saved)
    second.load(arrays, facts)
    for seed in (20, 30):
        left, right = play(whole, current, sites(seed)), play(second, current, sites(seed))
        assert digest(left) == digest(right)
        current = left


@pytest.mark.parametrize("name", NAMES)
def test_a_round_without_any_update_is_an_error(name: str) -> None:
    with pytest.raises(RoundError, match="no site contributed"):
        play(build(name), weights(0), [])


@pytest.mark.parametrize("name", NAMES)
def test_a_round_forgets_the_updates_of_the_one_before(name: str) -> None:
    aggregator = build(name)
    play(aggregator, weights(0), sites(1))
    with pytest.raises(RoundError):
        play(aggregator, weights(0), [])


@pytest.mark.parametrize("name", NAMES)
def test_the_weights_before_the_round_are_not_changed(name: str) -> None:
    current = weights(0)
    play(build(name), current, sites(1))
    assert digest(current) == digest(weights(0))


@pytest.mark.parametrize("name", NAMES)
def test_an_update_that_cannot_be_written_to_is_folded_all_the_same(name: str) -> None:
    updates = sites(1)
    for array in updates[0].shared.values():
        array.flags.writeable = False
    before = digest(updates[0].shared)
    assert digest(play(build(name), weights(0), updates)) == digest(play(build(name), weights(0), sites(1)))
    assert digest(updates[0].shared) == before


@pytest.mark.parametrize("name", NAMES)
def test_buffers_move_as_plain_means(name: str) -> None:
    mean = "weighted_mean" if name in SERVER_OPTIMISERS else name
    result = play(build(name), weights(0), sites(1))
    assert result["buffer"].tobytes() == play(build(mean), weights(0), sites(1))["buffer"].tobytes()


@pytest.mark.parametrize("name", [*SERVER_OPTIMISERS, "scaffold_mean"])
def test_a_rate_of_the_server_moves_parameters_and_leaves_buffers_plain_means(name: str) -> None:
    """Past the mean of variances there are negative ones."""
    current, once = weights(0), play(build(name, lr=1.0), weights(0), sites(1))
    thrice = play(build(name, lr=3.0), weights(0), sites(1))
    assert thrice["buffer"].tobytes() == once["buffer"].tobytes()
    np.testing.assert_allclose(
        thrice["vector"] - current["vector"], 3 * (once["vector"] - current["vector"]), rtol=1e-4
    )


def test_one_site_gives_its_own_weights_bit_for_bit() -> None:
    same = {"w": np.array([-0.0, 0.0, 1e-45, -3e38, 0.1], np.float32)}
    result = play(build("weighted_mean"), same, [update_of(same, num_examples=17)])
    assert digest(result) == digest(same)


@settings(deadline=None)
@given(
    values=st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=8),
    counts=st.lists(st.integers(1, 10**6), min_size=1, max_size=5),
)
def test_the_running_mean_keeps_every_float_and_the_sign_of_zero(values: list[float], counts: list[int]) -> None:
    same = {"w": np.array(values, np.float32)}
    result = play(build("weighted_mean"), same, [update_of(same, num_examples=count) for count in counts])
    assert result["w"].tobytes() == same["w"].tobytes()


def test_one_and_three_images_weigh_a_quarter_and_three_quarters() -> None:
    light, heavy = {"w": np.array([4.0, 0.0], np.float32)}, {"w": np.array([0.0, 8.0], np.float32)}
    updates = [update_of(light, num_examples=1), update_of(heavy, num_examples=3)]
    assert play(build("weighted_mean"), light, updates)["w"].tolist() == [1.0, 6.0]


def test_the_weighted_mean_agrees_with_its_slow_twin() -> None:
    updates = sites(1)
    counts = [update.num_examples for update in updates]
    expected = {name: np.average([u.shared[name] for u in updates], axis=0, weights=counts) for name in SHAPES}
    assert_close(play(build("weighted_mean"), weights(0), updates), expected, tolerance=1e-6)


def test_moving_halfway_meets_in_the_middle_whatever_the_layout() -> None:
    mean, target = np.zeros((3, BLOCK), np.float32), np.asfortranarray(np.full((3, BLOCK), 2.0, np.float32))
    move_towards(mean, target, 0.5)
    assert (mean == 1).all()


def test_fedavgm_agrees_with_its_slow_twin() -> None:
    aggregator, current = build("fedavgm", lr=0.5, momentum=0.8), weights(0)
    expected, velocity = current["vector"], np.zeros(3)
    for seed in (1, 11, 21):
        delta = np.average([u.shared["vector"] for u in sites(seed)], axis=0, weights=range(1, 7)) - expected
        velocity = 0.8 * velocity + delta
        expected = expected + 0.5 * velocity
        current = play(aggregator, current, sites(seed))
    np.testing.assert_allclose(current["vector"], expected, rtol=1e-5)


def test_fedadam_agrees_with_its_slow_twin() -> None:
    aggregator, current = build("fedadam", lr=0.1, beta1=0.7, beta2=0.9, tau=0.01), weights(0)
    expected, first, second = current["vector"], np.zeros(3), np.full(3, 0.01**2)
    for seed in (1, 11, 21):
        delta = np.average([u.shared["vector"] for u in sites(seed)], axis=0, weights=range(1, 7)) - expected
        first = 0.7 * first + 0.3 * delta
        second = 0.9 * second + 0.1 * delta**2
        expected = expected + 0.1 * first / (np.sqrt(second) + 0.01)
        current = play(aggregator, current, sites(seed))
    np.testing.assert_allclose(current["vector"], expected, rtol=1e-5)


def test_server_momentum_without_momentum_is_the_weighted_mean() -> None:
    result = play(build("fedavgm", momentum=0.0), weights(0), sites(1))
    assert_close(result, play(build("weighted_mean"), weights(0), sites(1)))


@pytest.mark.parametrize("name", SERVER_OPTIMISERS)
def test_moments_start_anew_where_the_shape_of_what_travels_changes(name: str) -> None:
    aggregator, smaller = build(name), {"w": np.ones(2, np.float32)}
    for values in (np.ones(4, np.float32), np.zeros(2, np.float32)):
        current = {"w": np.full(values.shape, 0.5, np.float32)}
        aggregator.begin(Manifest.of(current))
        aggregator.add(update_of({"w": values}))
        moved = aggregator.finish(current)
    fresh = build(name)
    fresh.begin(Manifest.of(smaller))
    fresh.add(update_of({"w": np.zeros(2, np.float32)}))
    assert digest(moved) == digest(fresh.finish({"w": np.full(2, 0.5, np.float32)}))


@pytest.mark.parametrize("count", [1, 2, 5, 6])
def test_the_median_agrees_with_its_slow_twin(count: int) -> None:
    updates = sites(1, count)
    expected = {name: np.median([update.shared[name] for update in updates], axis=0) for name in SHAPES}
    assert_close(play(build("median"), weights(0), updates), expected, tolerance=1e-6)


@pytest.mark.parametrize(
    ("count", "trim", "trimmed"), [(5, 0.2, 1), (6, 0.2, 1), (10, 0.2, 2), (7, 0.49, 3), (3, 0.34, 1)]
)
def test_the_trimmed_mean_agrees_with_its_slow_twin(count: int, trim: float, trimmed: int) -> None:
    updates = sites(1, count)
    columns = zip(*(update.shared["vector"].tolist() for update in updates), strict=True)
    expected = [sum(sorted(column)[trimmed : count - trimmed]) / (count - 2 * trimmed) for column in columns]
    result = play(build("trimmed_mean", trim=trim), weights(0), updates)
    np.testing.assert_allclose(result["vector"], expected, rtol=1e-6)


@pytest.mark.parametrize("name", ["median", "trimmed_mean"])
def test_a_robust_rule_bears_a_bad_site_whatever_number_of_images_it_names(name: str) -> None:
    good = {"w": np.ones(3, np.float32)}
    bad = update_of({"w": np.full(3, 1e30, np.float32)}, num_examples=10**9)
    aggregator = build(name)
    aggregator.begin(Manifest.of(good))
    for update in [*(update_of(good) for _ in range(4)), bad]:
        aggregator.add(update)
    assert aggregator.finish(good)["w"].tolist() == [1.0, 1.0, 1.0]


def test_too_few_updates_to_trim_are_refused_with_the_number_needed() -> None:
    with pytest.raises(RoundError, match=r"cannot leave out 0.2 of 4 updates .* at least 5 sites"):
        play(build("trimmed_mean"), weights(0), sites(1, 4))


def test_the_share_that_is_trimmed_is_exact() -> None:
    assert TrimmedMeanConfig(trim=0.29).build().num_trimmed(100) == 29


def test_defaults_are_those_of_the_papers() -> None:
    assert (FedAvgMConfig().lr, FedAvgMConfig().momentum) == (1.0, 0.9)
    assert (FedAdamConfig().beta1, FedAdamConfig().beta2, FedAdamConfig().tau) == (0.9, 0.99, 1e-3)
