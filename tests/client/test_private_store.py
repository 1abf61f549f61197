"""Private state stays at the site, whole, and the entry that fits is found again."""

from pathlib import Path

import numpy as np
import pytest

from fedward_client.private_store import FilePrivateStore
from fedward_core.errors import PrivateStateError
from fedward_core.store import PrivateEntry


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


def test_an_entry_of_other_weights_is_not_taken(tmp_path: Path) -> None:
    store = FilePrivateStore(tmp_path)
    store.write(entry(4, parent="q" * 64))
    with pytest.raises(PrivateStateError, match="round 4"):
        store.read(4, "p" * 64)
