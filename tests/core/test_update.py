"""What may be averaged, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest

from fedward_core.arrays import Array
from fedward_core.errors import UpdateError
from fedward_core.manifest import Manifest
from fedward_core.update import SHARED, Update, check_update


def shared() -> dict[str, Array]:
    return {"w": np.ones((2, 3), np.float32), "b": np.zeros(2, np.float32), "mean": np.zeros(2)}


UPDATE = Update(site="north", round=3, parent="abc", num_examples=5, num_steps=2, groups={SHARED: shared()})
MANIFEST = Manifest.of(shared())


def refused(update: Update) -> str:
    with pytest.raises(UpdateError) as caught:
        check_update(update, MANIFEST, round_=3, parent="abc")
    return str(caught.value)


def test_a_good_update_passes() -> None:
    check_update(UPDATE, MANIFEST, round_=3, parent="abc")


def test_another_round_or_parent_is_refused() -> None:
    assert refused(replace(UPDATE, round=2)) == "the update answers another round: expected round 3, found round 2"
    assert refused(replace(UPDATE, parent="abd")) == "the update rests on other weights: expected digest abc, found abd"
    assert "found none" in refused(replace(UPDATE, parent=""))


@pytest.mark.parametrize("num_examples", [0, -5])
def test_an_update_without_images_is_refused(num_examples: int) -> None:
    assert f"rests on {num_examples} images" in refused(replace(UPDATE, num_examples=num_examples))


def test_an_update_without_the_shared_group_is_refused() -> None:
    assert refused(replace(UPDATE, groups={"other": {}})) == "the update has no group 'shared': found other"
    assert "found none" in refused(replace(UPDATE, groups={}))


def test_missing_and_unexpected_names_are_told_but_not_endlessly() -> None:
    strangers = {f"x{i}": np.zeros(1, np.float32) for i in range(5)}
    rest = {name: array for name, array in shared().items() if name != "b"}
    assert refused(UPDATE.with_shared({**rest, **strangers})) == (
        "expected 3 arrays: 'b' missing, 'x0', 'x1', 'x2' and 2 more unexpected"
    )
    assert "none missing" in refused(UPDATE.with_shared({**shared(), **strangers}))


@pytest.mark.parametrize(
    "array", [np.ones((3, 2), np.float32), np.ones(6, np.float32), np.ones((2, 3)), np.ones((2, 3), np.int32)]
)
def test_another_shape_or_type_is_refused(array: Array) -> None:
    assert "expected float32 (2, 3)" in refused(UPDATE.with_shared({**shared(), "w": array}))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["w", "mean"])
def test_one_value_that_is_not_finite_is_refused(name: str, value: float) -> None:
    state = shared()
    state[name].reshape(-1)[1] = value
    assert refused(UPDATE.with_shared(state)) == (
        f"'{name}' holds values that are not finite: training diverged at this site"
    )


def test_other_shared_arrays_leave_the_other_groups() -> None:
    update = replace(UPDATE, groups={SHARED: shared(), "extra": {}})
    other = update.with_shared({})
    assert (other.shared, set(other.groups)) == ({}, {SHARED, "extra"})
    assert update.shared.keys() == shared().keys()
