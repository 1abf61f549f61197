"""The contract of every registered filter."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from fedward_core import registry
from fedward_core.arrays import Array, Arrays, digest, num_bytes
from fedward_core.errors import UpdateError
from fedward_core.filters.base import Filter
from fedward_core.filters.bfloat16 import from_bits, to_bits
from fedward_core.filters.delta_8bit import SCALES, num_rows, quantise, restore
from fedward_core.manifest import Manifest
from fedward_core.update import SHARED, Update, check_update

NAMES = registry.names("filters")
# Each encoding alone, and both orders of two.
LISTS = [*((name,) for name in NAMES), ("delta_8bit", "bfloat16"), ("bfloat16", "delta_8bit")]
SHAPES = {
    "scalar": (),
    "vector": (7,),
    "matrix": (3, 5),
    "kernel": (4, 2, 3, 3),
    "no_rows": (0, 4),
    "no_columns": (3, 0),
}
FLOATS = st.floats(
    width=32, allow_nan=False, allow_infinity=False, allow_subnormal=False, min_value=-1e6, max_value=1e6
)
FLOAT32_ROUNDING = 2.0**-22


def weights(seed: int, scale: float = 1.0) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    state = {name: np.asarray(rng.normal(size=shape) * scale, np.float32) for name, shape in SHAPES.items()}
    return {**state, "half": rng.normal(size=(2, 2)).astype(np.float16), "double": rng.normal(size=3)}


REFERENCE = weights(0)
MANIFEST = Manifest.of(REFERENCE)


def sent() -> Update:
    step = weights(1, scale=0.01)
    shared = {name: (REFERENCE[name] + step[name]).astype(REFERENCE[name].dtype) for name in REFERENCE}
    groups = {SHARED: shared, "extra": {"kept": np.ones(2, np.float32)}}
    return Update(site="a", round=2, parent="p", num_examples=3, num_steps=4, groups=groups, metrics={"loss": 0.5})


def build(names: tuple[str, ...]) -> tuple[Filter, ...]:
    return tuple(registry.resolve("filters", name).default().build() for name in names)


def encode(names: tuple[str, ...], update: Update) -> Update:
    for filter_ in build(names):
        update = filter_.encode(update, REFERENCE, seed=7)
    return update


def receive(names: tuple[str, ...], update: Update) -> Update:
    """What a server does: decode in reverse, then check."""
    for filter_ in reversed(build(names)):
        update = filter_.decode(update, REFERENCE, MANIFEST)
    check_update(update, MANIFEST, round_=2, parent="p")
    return update


def with_entry(update: Update, name: str, array: Array) -> Update:
    return update.with_shared({**update.shared, name: array})


@pytest.mark.parametrize("names", LISTS)
def test_what_is_received_is_close_to_what_was_sent(names: tuple[str, ...]) -> None:
    before, after = sent(), receive(names, encode(names, sent()))
    for name in SHAPES:
        # bfloat16: half of the last of eight bits. delta_8bit: half of 1/127 of the largest movement.
        relative = np.abs(before.shared[name]) * 2.0**-8
        movement = np.abs(before.shared[name] - REFERENCE[name]).max(initial=0) / 127 / 2
        allowed = np.maximum(relative, movement) + FLOAT32_ROUNDING * 4
        assert (np.abs(after.shared[name] - before.shared[name]) <= allowed).all()


@pytest.mark.parametrize("names", LISTS)
def test_names_shapes_types_and_facts_are_kept(names: tuple[str, ...]) -> None:
    before, after = sent(), receive(names, encode(names, sent()))
    assert list(after.shared) == list(before.shared)
    assert replace(after, groups={}) == replace(before, groups={})
    for name, array in before.shared.items():
        assert (after.shared[name].shape, after.shared[name].dtype) == (array.shape, array.dtype)


@pytest.mark.parametrize("names", LISTS)
def test_other_types_and_other_groups_pass_untouched(names: tuple[str, ...]) -> None:
    before, after = sent(), receive(names, encode(names, sent()))
    assert after.groups.keys() == before.groups.keys()
    assert digest(after.groups["extra"]) == digest(before.groups["extra"])
    for name in ("half", "double"):
        assert after.shared[name].tobytes() == before.shared[name].tobytes()


@pytest.mark.parametrize("names", LISTS)
def test_encoding_and_decoding_draw_nothing(names: tuple[str, ...]) -> None:
    first, second = encode(names, sent()), encode(names, sent())
    assert {group: digest(first.groups[group]) for group in first.groups} == {
        group: digest(second.groups[group]) for group in second.groups
    }
    assert digest(receive(names, first).shared) == digest(receive(names, second).shared)


@pytest.mark.parametrize("names", LISTS)
def test_neither_the_update_nor_the_reference_is_changed(names: tuple[str, ...]) -> None:
    before, reference = sent(), digest(REFERENCE)
    receive(names, encode(names, before))
    assert digest(before.shared) == digest(sent().shared)
    assert digest(REFERENCE) == reference


@pytest.mark.parametrize("names", LISTS)
def test_weights_that_did_not_move_arrive_within_the_same_bound(names: tuple[str, ...]) -> None:
    still = sent().with_shared(REFERENCE)
    after = receive(names, encode(names, still))
    for name in SHAPES:
        np.testing.assert_allclose(after.shared[name], REFERENCE[name], rtol=2.0**-8)


@pytest.mark.parametrize("names", LISTS)
def test_less_travels(names: tuple[str, ...]) -> None:
    large = {name: np.zeros((64, 64), np.float32) for name in ("a", "b")}
    update = Update(site="a", round=0, parent="p", num_examples=1, num_steps=1, groups={SHARED: large})
    for filter_ in build(names):
        update = filter_.encode(update, large, seed=0)
    assert sum(num_bytes(group) for group in update.groups.values()) <= num_bytes(large) / 2


@pytest.mark.parametrize("name", NAMES)
def test_the_sum_needs_no_mending(name: str) -> None:
    aggregate = weights(3)
    assert digest(build((name,))[0].finish(aggregate, (1.0, 2.0))) == digest(weights(3))


def _without_group(update: Update) -> Update:
    return replace(update, groups={name: group for name, group in update.groups.items() if name != SHARED})


GARBAGE: dict[str, Callable[[Update], Update]] = {
    "no shared group": _without_group,
    "a missing entry": lambda u: u.with_shared({n: a for n, a in u.shared.items() if n != "matrix"}),
    "an unexpected entry": lambda u: with_entry(u, "stranger", np.zeros(2, np.float32)),
    "another shape": lambda u: with_entry(u, "matrix", u.shared["matrix"].T),
    "another number of axes": lambda u: with_entry(u, "matrix", u.shared["matrix"].reshape(-1)),
    "not encoded": lambda u: with_entry(u, "matrix", np.zeros((3, 5), np.float32)),
    "float64": lambda u: with_entry(u, "matrix", np.zeros((3, 5))),
    "truth values": lambda u: with_entry(u, "matrix", np.zeros((3, 5), bool)),
    "another integer type": lambda u: with_entry(u, "matrix", np.zeros((3, 5), np.int32)),
}


@pytest.mark.parametrize("garbage", GARBAGE)
@pytest.mark.parametrize("names", LISTS)
def test_garbage_is_refused(names: tuple[str, ...], garbage: str) -> None:
    with pytest.raises(UpdateError):
        receive(names, GARBAGE[garbage](encode(names, sent())))


@pytest.mark.parametrize("names", LISTS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_reach_the_server_as_such_and_are_refused(
    names: tuple[str, ...], value: float
) -> None:
    diverged = with_entry(sent(), "matrix", np.full((3, 5), value, np.float32))
    with pytest.raises(UpdateError, match="not finite: training diverged"):
        receive(names, encode(names, diverged))


def _without_scale(scales: Arrays) -> Arrays:
    return {name: scale for name, scale in scales.items() if name != "matrix"}


BAD_SCALES: dict[str, Callable[[Arrays], Arrays]] = {
    "missing": _without_scale,
    "too few": lambda scales: {**scales, "matrix": scales["matrix"][:2]},
    "float64": lambda scales: {**scales, "matrix": scales["matrix"].astype(np.float64)},
    "negative": lambda scales: {**scales, "matrix": -scales["matrix"]},
    "not a number": lambda scales: {**scales, "matrix": scales["matrix"] * np.float32(np.nan)},
}


@pytest.mark.parametrize("fault", BAD_SCALES)
def test_bad_scales_are_refused(fault: str) -> None:
    encoded = encode(("delta_8bit",), sent())
    scales = BAD_SCALES[fault](encoded.groups[SCALES])
    with pytest.raises(UpdateError, match="the scales of 'matrix' are"):
        receive(("delta_8bit",), replace(encoded, groups={**encoded.groups, SCALES: scales}))


def test_scales_of_entries_that_are_not_there_are_refused() -> None:
    encoded = encode(("delta_8bit",), sent())
    scales = {**encoded.groups[SCALES], "stranger": np.ones(3, np.float32)}
    with pytest.raises(UpdateError, match="scales of 1 entries"):
        receive(("delta_8bit",), replace(encoded, groups={**encoded.groups, SCALES: scales}))


def test_an_update_without_the_group_of_scales_is_refused() -> None:
    encoded = encode(("delta_8bit",), sent())
    with pytest.raises(UpdateError, match="are missing"):
        receive(("delta_8bit",), replace(encoded, groups={SHARED: encoded.shared}))


def test_a_scale_that_overflows_is_refused() -> None:
    encoded = encode(("delta_8bit",), sent())
    scales = {**encoded.groups[SCALES], "matrix": np.full(3, 3e38, np.float32)}
    with pytest.raises(UpdateError, match="not finite"):
        receive(("delta_8bit",), replace(encoded, groups={**encoded.groups, SCALES: scales}))


@settings(deadline=None)
@given(bits=arrays(np.uint32, array_shapes(min_dims=0, max_dims=3, min_side=0)))
def test_bfloat16_is_the_nearest_even_one_of_every_float(bits: Array) -> None:
    values = bits.view(np.float32) if bits.shape else np.array(bits).view(np.float32)
    back = from_bits(to_bits(values))
    for value, found in zip(values.reshape(-1).tolist(), back.reshape(-1).tolist(), strict=True):
        assert found == _nearest(value) or (np.isnan(value) and np.isnan(found))


def _nearest(value: float) -> float:
    """The slow twin: the nearer of the two neighbours with sixteen bits, the even one of two as near."""
    if not np.isfinite(value):
        return value
    down = int(np.array(abs(value), np.float32).view(np.uint32)) >> 16
    low, high = (float(np.array(bits << 16, np.uint32).view(np.float32)) for bits in (down, down + 1))
    above = 2.0**128 if np.isinf(high) else high  # what comes after the largest finite number, were the exponent wider
    middle = (low + above) / 2
    nearest = low if abs(value) < middle or (abs(value) == middle and down % 2 == 0) else high
    return float(np.copysign(nearest, value))


@settings(deadline=None)
@given(data=st.data(), shape=array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
def test_a_delta_is_off_by_at_most_half_a_scale(data: st.DataObject, shape: tuple[int, ...]) -> None:
    sent_, reference = (data.draw(arrays(np.float32, shape, elements=FLOATS)) for _ in range(2))
    numbers, scales = quantise(sent_, reference)
    assert numbers.dtype == np.int8
    assert (numbers.shape, scales.shape) == (shape, (num_rows(shape),))
    error = np.abs(restore(numbers, scales, reference).astype(np.float64) - sent_)
    rounding = (np.abs(sent_) + np.abs(reference)).astype(np.float64) * FLOAT32_ROUNDING + 1e-37
    half = scales.astype(np.float64).reshape(-1, *[1] * (len(shape) - 1)) if len(shape) > 1 else scales[0]
    assert (error <= half * _parts_of_a_scale(sent_, reference) * (1 + FLOAT32_ROUNDING) + rounding).all()


def _parts_of_a_scale(sent_: Array, reference: Array) -> Array:
    """A half, but up to a whole one in rows without a negative number, of which rounding makes none."""
    axes = tuple(range(1, sent_.ndim)) if sent_.ndim > 1 else None
    lowest = np.minimum(sent_, reference).min(axis=axes, initial=0, keepdims=True)
    return np.where(lowest >= 0, 1.0, 0.5)


@given(data=st.data(), shape=st.sampled_from([(6,), (3, 4)]))
def test_rounding_makes_no_variance_negative(data: st.DataObject, shape: tuple[int, ...]) -> None:
    positive = st.floats(0, 1e6, width=32, allow_subnormal=False)
    sent_, reference = (data.draw(arrays(np.float32, shape, elements=positive)) for _ in range(2))
    assert (restore(*quantise(sent_, reference), reference) >= 0).all()


def test_a_small_variance_beside_a_large_one_stays_a_variance() -> None:
    """A first round of a batch norm, from 1: one channel hardly varies, another one much."""
    variances, reference = np.array([0.01, 50.0], np.float32), np.ones(2, np.float32)
    numbers, scales = quantise(variances, reference)
    assert np.rint((variances - reference) / scales)[0] * scales[0] + 1 < 0  # the nearest one would be negative
    restored = restore(numbers, scales, reference)
    assert restored[0] >= 0
    assert restored == pytest.approx(variances, abs=float(scales[0]))


def test_a_row_that_did_not_move_stays_exactly_where_it_was() -> None:
    reference = weights(4)["matrix"]
    moved = reference.copy()
    moved[1] += 1
    numbers, scales = quantise(moved, reference)
    assert scales[0] == 0
    assert restore(numbers, scales, reference)[[0, 2]].tobytes() == reference[[0, 2]].tobytes()


def test_each_row_has_its_own_scale() -> None:
    moved = np.array([[127.0, 1.0], [0.127, 0.001]], np.float32)
    numbers, scales = quantise(moved, np.zeros((2, 2), np.float32))
    assert numbers.tolist() == [[127, 1], [127, 1]]
    np.testing.assert_allclose(scales, [1.0, 0.001], rtol=1e-6)


def test_subnormal_movements_do_not_leave_the_range() -> None:
    tiny = np.float32(1e-45) * np.arange(191, dtype=np.float32)[None]
    numbers, scales = quantise(tiny, np.zeros_like(tiny))
    assert numbers.tolist() == [[min(step, 127) for step in range(191)]]
    assert np.isfinite(scales).all()
