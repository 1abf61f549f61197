"""Laws of partitions: what is split comes back, what is private stays."""

from dataclasses import dataclass
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedward_core.arrays import Array
from fedward_core.channel_cut import Cut, private_channels
from fedward_core.errors import SpecError, UpdateError
from fedward_core.manifest import Entry, Kind, Manifest
from fedward_core.partition import Partition, Role, Rule

SHARES = st.fractions(min_value=0, max_value=1, max_denominator=12)
FLOAT, INTEGER = "<f4", "<i8"


@dataclass(frozen=True, kw_only=True)
class Case:
    """A state with one tensor of every role and some that are cut."""

    manifest: Manifest
    rules: tuple[Rule, ...]
    state: dict[str, Array]

    def at(self, share: Fraction) -> Partition:
        return Partition(self.manifest, self.rules, share=share)


@st.composite
def cuts(draw: st.DrawFn, dims: tuple[int, ...]) -> Cut:
    return Cut(channels=draw(st.integers(1, 5)), dims=dims, unit=draw(st.integers(1, 3)), tiles=draw(st.integers(1, 3)))


@st.composite
def cut_tensors(draw: st.DrawFn) -> tuple[tuple[int, ...], tuple[Cut, ...]]:
    """A shape and its cuts: one axis, two axes by one cut, or two axes by a cut each."""
    dims = draw(st.sampled_from([((0,),), ((1,),), ((0, 1),), ((0,), (1,))]))
    made = tuple(draw(cuts(dims_)) for dims_ in dims)
    lengths = {dim: cut.channels * cut.unit * cut.tiles for cut in made for dim in cut.dims}
    rank = draw(st.integers(max(lengths, default=-1) + 1, 3))
    return tuple(lengths.get(dim, draw(st.integers(0, 3))) for dim in range(rank)), made


@st.composite
def cases(draw: st.DrawFn) -> Case:
    rules = [Rule(pattern="shared", role=Role.SHARED), Rule(pattern="private", role=Role.PRIVATE)]
    entries = [
        Entry(name="shared", shape=(2, 3), dtype=FLOAT, kind=Kind.PARAMETER),
        Entry(name="private", shape=(4,), dtype=FLOAT, kind=Kind.BUFFER),
    ]
    for index, (shape, made) in enumerate(draw(st.lists(cut_tensors(), min_size=1, max_size=4))):
        entries.append(Entry(name=f"cut{index}", shape=shape, dtype=FLOAT, kind=Kind.PARAMETER))
        rules.append(Rule(pattern=f"cut{index}", role=Role.PRIVATE, cuts=made))
    entries += [
        Entry(name="counter", shape=(), dtype=INTEGER, kind=Kind.COUNTER),
        Entry(name="frozen", shape=(3,), dtype=FLOAT, kind=Kind.BUFFER),
    ]
    rules += [Rule(pattern="counter", role=Role.SHARED), Rule(pattern="frozen", role=Role.FROZEN)]
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    state = {e.name: np.asarray(rng.normal(size=e.shape) * 100).astype(e.dtype) for e in entries}
    return Case(manifest=Manifest(entries=tuple(entries)), rules=tuple(rules), state=state)


def assert_same(left: dict[str, Array], right: dict[str, Array]) -> None:
    assert left.keys() == right.keys()
    for name, array in left.items():
        assert array.shape == right[name].shape
        assert array.dtype == right[name].dtype
        assert array.tobytes() == right[name].tobytes()


@settings(deadline=None, max_examples=60)
@given(case=cases(), share=SHARES)
def test_merge_inverts_split(case: Case, share: Fraction) -> None:
    partition = case.at(share)
    unfrozen = {name: array for name, array in case.state.items() if name != "frozen"}
    assert_same(partition.merge(*partition.split(case.state)), unfrozen)


@settings(deadline=None, max_examples=60)
@given(case=cases(), share=SHARES)
def test_every_number_is_in_exactly_one_half(case: Case, share: Fraction) -> None:
    marks = {e.name: np.arange(np.prod(e.shape, dtype=int)).reshape(e.shape) for e in case.manifest.entries}
    shared, private = case.at(share).split(marks)
    for name, array in marks.items():
        halves = [half[name].reshape(-1) for half in (shared, private) if name in half]
        found = sorted(np.concatenate(halves).tolist()) if halves else []
        assert found == ([] if name == "frozen" else array.reshape(-1).tolist())


@settings(deadline=None, max_examples=60)
@given(case=cases(), share=SHARES, data=st.data())
def test_what_is_private_never_changes_what_is_sent(case: Case, share: Fraction, data: st.DataObject) -> None:
    partition = case.at(share)
    shared, private = partition.split(case.state)
    other = {name: array + array.dtype.type(data.draw(st.integers(1, 9))) for name, array in private.items()}
    assert_same(partition.split(partition.merge(shared, other))[0], shared)


@settings(deadline=None, max_examples=60)
@given(case=cases(), shares=st.tuples(SHARES, SHARES))
def test_what_is_private_stays_private_as_the_share_grows(case: Case, shares: tuple[Fraction, Fraction]) -> None:
    marks = {e.name: np.arange(np.prod(e.shape, dtype=int)).reshape(e.shape) for e in case.manifest.entries}
    before, after = (case.at(share).split(marks)[1] for share in sorted(shares))
    for name, array in before.items():
        assert set(array.reshape(-1).tolist()) <= set(after[name].reshape(-1).tolist())


@settings(deadline=None, max_examples=60)
@given(case=cases(), share=SHARES)
def test_the_shared_manifest_describes_what_is_sent(case: Case, share: Fraction) -> None:
    partition = case.at(share)
    shared = partition.split(case.state)[0]
    assert {e.name: (e.shape, e.dtype) for e in partition.shared_manifest.entries} == {
        name: (array.shape, array.dtype.str) for name, array in shared.items()
    }


@settings(deadline=None, max_examples=60)
@given(case=cases())
def test_share_one_sends_nothing(case: Case) -> None:
    partition = case.at(Fraction(1))
    shared, private = partition.split(case.state)
    assert shared == {}
    assert_same(private, {name: array for name, array in case.state.items() if name != "frozen"})
    assert partition.shared_manifest.entries == ()


@settings(deadline=None, max_examples=60)
@given(case=cases())
def test_share_zero_cuts_nothing(case: Case) -> None:
    shared, private = case.at(Fraction(0)).split(case.state)
    assert set(private) == {"private", "counter"}
    assert_same(shared, {name: a for name, a in case.state.items() if name == "shared" or name.startswith("cut")})


@settings(deadline=None, max_examples=60)
@given(case=cases(), share=SHARES)
def test_counters_are_private_whatever_the_rules_say(case: Case, share: Fraction) -> None:
    partition = case.at(share)
    assert partition.role("counter") is Role.PRIVATE
    assert "counter" not in partition.split(case.state)[0]


@settings(deadline=None, max_examples=60)
@given(cut=cuts((0,)), share=SHARES.filter(lambda share: share < 1))
def test_the_mask_agrees_with_its_slow_twin(cut: Cut, share: Fraction) -> None:
    length = cut.channels * cut.unit * cut.tiles
    kept = cut.channels - private_channels(cut.channels, share)
    expected = [(position // cut.unit) % cut.channels < kept for position in range(length)]
    partition = Partition(_one(length), (Rule(pattern="w", role=Role.PRIVATE, cuts=(cut,)),), share=share)
    mask = partition.shared_mask("w")
    assert (np.ones(length, bool) if mask is None else mask).tolist() == expected


def test_two_cuts_of_one_tensor_share_where_both_do() -> None:
    rule = Rule(pattern="w", role=Role.PRIVATE, cuts=(Cut(channels=4), Cut(channels=3, dims=(1,), unit=2)))
    partition = Partition(_one(4, 6), (rule,), share=Fraction(1, 2))
    mask = partition.shared_mask("w")
    assert mask is not None
    for row, column in product(range(4), range(6)):
        assert mask[row, column] == (row < 2 and column // 2 < 1)
    assert partition.role("w") is Role.SHARED


@pytest.mark.parametrize(
    ("shape", "made", "compact"),
    [
        ((4, 3, 2, 2), (Cut(channels=4),), (2, 3, 2, 2)),
        ((12, 5), (Cut(channels=2, unit=2, tiles=3),), (6, 5)),
        ((4, 4), (Cut(channels=4, dims=(0, 1)),), (2, 2)),
        ((3, 8), (Cut(channels=2, dims=(1,), unit=4),), (3, 4)),
        ((1, 8), (Cut(channels=1),), (1, 8)),
    ],
)
def test_half_a_tensor_travels_in_a_compact_shape(
    shape: tuple[int, ...], made: tuple[Cut, ...], compact: tuple[int, ...]
) -> None:
    partition = Partition(_one(*shape), (Rule(pattern="w", role=Role.PRIVATE, cuts=made),), share=Fraction(1, 2))
    shared, private = partition.split({"w": np.zeros(shape, np.float32)})
    assert shared["w"].shape == compact
    assert sum(half["w"].size for half in (shared, private) if "w" in half) == np.prod(shape)


@given(channels=st.integers(1, 64), share=SHARES)
def test_private_channels_are_the_nearest_whole_number_but_never_all_or_none(channels: int, share: Fraction) -> None:
    nearest = min(range(channels + 1), key=lambda count: (abs(count - share * channels), -count))
    allowed = range(1, channels) if 0 < share < 1 and channels > 1 else (0, channels)
    expected = min(allowed, key=lambda count: abs(count - nearest)) if 0 < share < 1 else int(share) * channels
    assert private_channels(channels, share) == (expected if channels > 1 else int(share))


@given(channels=st.integers(1, 64), shares=st.tuples(SHARES, SHARES))
def test_private_channels_never_fall_as_the_share_grows(channels: int, shares: tuple[Fraction, Fraction]) -> None:
    lower, upper = sorted(shares)
    assert private_channels(channels, lower) <= private_channels(channels, upper)


def test_a_half_is_rounded_up() -> None:
    assert private_channels(5, Fraction(1, 2)) == 3
    assert private_channels(10, Fraction(1, 20)) == 1
    assert private_channels(10, Fraction(1, 4)) == 3


def test_the_same_share_gives_the_same_partition() -> None:
    partition = _simple(Fraction(1, 4))
    assert partition.at(Fraction(1, 4)) is partition
    assert partition.at(Fraction(1, 2)).share == Fraction(1, 2)


def test_the_first_rule_that_matches_the_whole_name_decides() -> None:
    rules = (
        Rule(pattern="bn", role=Role.PRIVATE),
        Rule(pattern=r"bn\..*", role=Role.PRIVATE),
        Rule(pattern=".*", role=Role.SHARED),
    )
    manifest = Manifest.of({name: np.zeros(1, np.float32) for name in ("bn.weight", "bnx")})
    partition = Partition(manifest, rules)
    assert partition.role("bn.weight") is Role.PRIVATE
    assert partition.role("bnx") is Role.SHARED


def test_an_entry_without_a_rule_is_refused() -> None:
    with pytest.raises(SpecError, match="no rule says whether 'w'"):
        Partition(_one(2), (Rule(pattern="v", role=Role.SHARED),))


@pytest.mark.parametrize(
    "cut", [Cut(channels=3), Cut(channels=4, unit=2), Cut(channels=4, dims=(1,)), Cut(channels=4, dims=(-1,))]
)
def test_a_cut_that_does_not_fit_is_refused(cut: Cut) -> None:
    with pytest.raises(SpecError, match="cannot cut 'w' of shape"):
        Partition(_one(4), (Rule(pattern="w", role=Role.PRIVATE, cuts=(cut,)),))


@pytest.mark.parametrize("half", [0, 1])
def test_a_missing_entry_is_refused(half: int) -> None:
    halves = _simple(Fraction(1, 4)).split(_state())
    del halves[half]["cut"]
    with pytest.raises(UpdateError, match="'cut' is missing"):
        _simple(Fraction(1, 4)).merge(*halves)


@pytest.mark.parametrize("half", [0, 1])
def test_an_entry_of_another_shape_is_refused(half: int) -> None:
    halves = _simple(Fraction(1, 4)).split(_state())
    halves[half]["cut"] = np.zeros((5, 5), np.float32)
    with pytest.raises(UpdateError, match=r"'cut' has shape \(5, 5\)"):
        _simple(Fraction(1, 4)).merge(*halves)


@pytest.mark.parametrize(("half", "name"), [(0, "stranger"), (1, "stranger"), (0, "private"), (1, "shared")])
def test_an_entry_of_the_other_half_or_of_none_is_refused(half: int, name: str) -> None:
    halves = _simple(Fraction(1, 4)).split(_state())
    halves[half][name] = np.zeros(2, np.float32)
    with pytest.raises(UpdateError, match=f"unexpected entry '{name}'"):
        _simple(Fraction(1, 4)).merge(*halves)


def test_a_joining_site_needs_the_whole_state() -> None:
    partition, state = _simple(Fraction(1, 4)), _state()
    assert_same(partition.whole(state), state)
    with pytest.raises(UpdateError, match="'cut' is missing"):
        partition.whole({name: array for name, array in state.items() if name != "cut"})
    with pytest.raises(UpdateError, match="unexpected entry 'stranger'"):
        partition.whole({**state, "stranger": np.zeros(1, np.float32)})


def test_only_a_partition_that_keeps_something_has_private_entries() -> None:
    assert _simple(Fraction(0)).has_private
    assert not Partition(_one(4), (Rule(pattern=".*", role=Role.SHARED),)).has_private
    cut = Rule(pattern=".*", role=Role.PRIVATE, cuts=(Cut(channels=4),))
    assert not Partition(_one(4), (cut,)).has_private
    assert Partition(_one(4), (cut,), share=Fraction(1, 4)).has_private


def _one(*shape: int) -> Manifest:
    return Manifest(entries=(Entry(name="w", shape=shape, dtype=FLOAT, kind=Kind.PARAMETER),))


def _state() -> dict[str, Array]:
    return {
        "shared": np.ones(2, np.float32),
        "private": np.ones(2, np.float32),
        "cut": np.arange(12, dtype=np.float32).reshape(4, 3),
    }


def _simple(share: Fraction) -> Partition:
    rules = (
        Rule(pattern="shared", role=Role.SHARED),
        Rule(pattern="private", role=Role.PRIVATE),
        Rule(pattern="cut", role=Role.PRIVATE, cuts=(Cut(channels=4),)),
    )
    return Partition(Manifest.of(_state()), rules, share=share)
