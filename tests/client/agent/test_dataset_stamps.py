"""A dataset that changes is noticed, and one that does not is not walked through with every report."""

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from fedward_client.agent import stamps
from fedward_client.agent.catalogue import Catalogue
from fedward_client.agent.policy import Offer
from fedward_client.agent.stamps import LOOK_EVERY_S, SHARE_OF_TIME, Stamps
from fedward_core.fleet_messages import Cards


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A clock that stands still unless a test moves it."""
    clock = SimpleNamespace(now_s=1000.0)
    monkeypatch.setattr(stamps, "time", SimpleNamespace(monotonic=lambda: clock.now_s))
    return clock


@pytest.fixture
def ward(tmp_path: Path) -> Path:
    """A folder with a table, an image and a series of two slices."""
    (folder := tmp_path / "ward").mkdir()
    (folder / "scan").mkdir()
    for name in ("a.png", "scan/1.dcm", "scan/2.dcm"):
        (folder / name).write_bytes(b"pixels")
    (folder / "labels.csv").write_text("file\na.png\nscan\n")
    return folder


CHANGES: dict[str, Callable[[Path], object]] = {
    "an image that is written anew": lambda ward: os.utime(ward / "a.png", ns=(1, 1)),
    "an image of another size": lambda ward: (ward / "a.png").write_bytes(b"other pixels"),
    "an image that is gone": lambda ward: (ward / "a.png").unlink(),
    "a slice more": lambda ward: (ward / "scan" / "3.dcm").write_bytes(b"pixels"),
    "a slice of another name": lambda ward: (ward / "scan" / "2.dcm").rename(ward / "scan" / "3.dcm"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_files_that_change_under_the_same_table_make_a_card_anew_within_minutes(
    tmp_path: Path,
    ward: Path,
    clock: SimpleNamespace,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[Path], object],
) -> None:
    made: list[object] = []

    def make(*_: object) -> Cards:
        made.append(None)
        return Cards(cards=(), digest="")

    monkeypatch.setattr(Catalogue, "_made", make)
    catalogue = Catalogue(tmp_path / "catalogue", "north", log=tmp_path / "cards.log")
    offers = {"chest": Offer(path=ward)}
    catalogue.refresh(offers)
    change(ward)
    clock.now_s += LOOK_EVERY_S - 1
    catalogue.refresh(offers)
    assert len(made) == 1
    clock.now_s += 1
    catalogue.refresh(offers)
    assert len(made) == 2
    clock.now_s += LOOK_EVERY_S
    catalogue.refresh(offers)
    assert len(made) == 2


def test_a_table_that_changes_is_noticed_at_once_with_what_lies_beside_it(ward: Path, clock: SimpleNamespace) -> None:
    seen = Stamps()
    first = seen.of(ward)
    (ward / "b.png").write_bytes(b"pixels")
    assert seen.of(ward) == first
    (ward / "labels.csv").write_text("file\na.png\nb.png\nscan\n")
    second = seen.of(ward)
    assert second != first
    clock.now_s += LOOK_EVERY_S
    assert seen.of(ward) == second


def test_folders_of_many_files_are_looked_at_the_more_rarely(
    ward: Path, clock: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    walks: list[float] = []
    walk = os.walk

    def slow(folder: Path) -> object:
        walks.append(clock.now_s)
        clock.now_s += 10 * LOOK_EVERY_S * SHARE_OF_TIME
        return walk(folder)

    monkeypatch.setattr(os, "walk", slow)
    seen = Stamps()
    for _ in range(11):
        seen.of(ward)
        clock.now_s += LOOK_EVERY_S
    assert len(walks) == 2


def test_a_dataset_that_is_not_there_has_no_stamp(tmp_path: Path) -> None:
    assert Stamps().of(tmp_path / "gone.npz") is None
    assert Stamps().of(tmp_path) is None
