"""Private state stays at the site, whole, and the entry that fits is found again."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fedward_client.private_store import FilePrivateStore
from fedward_core.errors import PrivateStateError, UpdateError
from fedward_core.private_state import PrivateEntry


def entry(round_: int, parent: str = "p" * 64) -> PrivateEntry:
    return PrivateEntry(
        round=round_, parent=parent, arrays={"weights/w": np.full(2, round_, np.float32)}, facts={"steps": round_}
    )


def test_an_entry_comes_back_as_it_was_kept(tmp_path: Path) -> None:
    store = FilePrivateStore(tmp_path / "stage")
    store.write(entry(4))
    back = FilePrivateStore(tmp_path / "stage").read(4, "p" * 64)
    assert back.facts == {"steps": 4}
    np.testing.assert_array_equal(back.arrays["weights/w"], np.full(2, 4, np.float32))


def test_the_last_few_entries_are_kept(tmp_path: Path) -> None:
    store = FilePrivateStore(tmp_path, keep=3)
    for round_ in range(12):
        store.write(entry(round_))
    assert [store.read(round_, "p" * 64).round for round_ in (9, 10, 11)] == [9, 10, 11]
    with pytest.raises(PrivateStateError):
        store.read(8, "p" * 64)


def test_what_later_entries_were_made_from_is_kept_however_many_rounds_count_for_nothing(tmp_path: Path) -> None:
    """The site trains in time for its own clock, and too late for the coordinator's, round after round."""
    store = FilePrivateStore(tmp_path, keep=3)
    store.write(entry(4))
    for round_ in range(5, 15):
        store.write(replace(entry(round_), base=(4, "p" * 64)))
    assert store.read(4, "p" * 64).round == 4
    store.write(replace(entry(15), base=(14, "p" * 64)))
    with pytest.raises(PrivateStateError):
        store.read(4, "p" * 64)


def test_a_run_that_is_taken_up_at_an_earlier_round_keeps_what_it_writes_from_there_on(tmp_path: Path) -> None:
    store = FilePrivateStore(tmp_path, keep=3)
    for round_ in (10, 11, 12, 4, 5):
        store.write(entry(round_))
    assert [store.read(round_, "p" * 64).round for round_ in (4, 5)] == [4, 5]
    for round_ in (6, 7):
        store.write(entry(round_))
    assert store.last_round == 7


def test_what_a_killed_app_had_written_half_does_not_stay_for_ever(tmp_path: Path) -> None:
    dead, alive = (tmp_path / f".round-00001-p.safetensors.{pid}.part" for pid in (2**22 + 1, os.getpid()))
    foreign = tmp_path / ".x.part"
    for part in (dead, alive, foreign):
        part.touch()
    FilePrivateStore(tmp_path).write(entry(2))
    assert not dead.exists()
    assert alive.exists()
    assert foreign.exists()


def test_the_last_round_is_that_of_the_entries(tmp_path: Path) -> None:
    store = FilePrivateStore(tmp_path)
    assert store.last_round is None
    store.write(entry(100_000))
    store.write(entry(99_999))
    assert store.last_round == 100_000


def test_the_newest_entry_is_of_the_last_round_and_the_last_that_was_written_of_it(tmp_path: Path) -> None:
    store = FilePrivateStore(tmp_path, keep=4)
    with pytest.raises(PrivateStateError, match="holds no private state"):
        store.newest()
    for written, one in enumerate((entry(3, "a" * 64), entry(7, "b" * 64), entry(7, "a" * 64), entry(6, "c" * 64))):
        store.write(one)
        for path in tmp_path.glob(f"*{one.round:05d}-{one.parent[:16]}*"):
            os.utime(path, ns=(written, written))
    found = store.newest()
    assert (found.round, found.parent, found.facts) == (7, "a" * 16, {"steps": 7})
    assert store.read(found.round, found.parent).facts == found.facts


def test_a_parent_that_is_no_digest_leads_nowhere_else(tmp_path: Path) -> None:
    store = FilePrivateStore(tmp_path / "private" / "stage")
    for use in (store.write, lambda entry: store.read(entry.round, entry.parent)):
        with pytest.raises(UpdateError, match="digest"):
            use(entry(1, parent="/../../abc"))
    assert not list(tmp_path.rglob("*"))


def test_an_entry_of_other_weights_is_not_taken(tmp_path: Path) -> None:
    store = FilePrivateStore(tmp_path)
    store.write(entry(4, parent="q" * 64))
    with pytest.raises(PrivateStateError, match="round 4"):
        store.read(4, "p" * 64)
