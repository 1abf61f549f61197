"""What was decoded once is not decoded again, and never wrongly taken for something else."""

import logging
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedward_core.errors import DataError
from fedward_core.spec import Dataset
from fedward_models.data import site_data
from fedward_models.data.reading import cache
from fedward_models.data.reading.npz_file import read_npz
from fedward_models.data.site_data import SiteData, read_site

Writer = Callable[..., Path]


@pytest.fixture(autouse=True)
def folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty cache, and a process that remembers nothing."""
    place = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv(cache.FOLDER, str(place))
    site_data.forget()
    yield place
    site_data.forget()


@pytest.fixture
def read_anew() -> Callable[..., SiteData]:
    """Read a site as a new process would."""

    def read(*arguments: Any) -> SiteData:
        site_data.forget()
        return read_site(*arguments)

    return read


@pytest.fixture
def decodings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The sites that were decoded, in order."""
    seen: list[str] = []

    def counted(source: Any, dataset: Dataset) -> Any:
        seen.append(source.site)
        return read_npz(source, dataset)

    monkeypatch.setattr(site_data, "read_npz", counted)
    return seen


def test_a_second_process_does_not_decode(
    write_site: Writer, dataset: Dataset, read_anew: Callable[..., SiteData], decodings: list[str]
) -> None:
    data = write_site()
    first, second = read_anew(data, "north", dataset), read_anew(data, "north", dataset)
    assert decodings == ["north"]
    for key in ("images", "labels", "splits", "patients", "levels", "sizes"):
        assert (getattr(first, key) == getattr(second, key)).all()
    assert (first.contract, first.digest, first.bad) == (second.contract, second.digest, second.bad)
    assert isinstance(second.images, np.memmap)


def test_writing_into_an_image_changes_no_file(
    write_site: Writer, dataset: Dataset, read_anew: Callable[..., SiteData]
) -> None:
    data = write_site()
    content = read_anew(data, "north", dataset)
    before = np.array(content.images)
    content.images[:] = 0
    assert (read_anew(data, "north", dataset).images == before).all()


def test_changed_files_are_decoded(
    write_site: Writer, dataset: Dataset, read_anew: Callable[..., SiteData], decodings: list[str]
) -> None:
    first = read_anew(write_site(), "north", dataset)
    second = read_anew(write_site(images=np.full((24, 8, 8), 5, np.uint8)), "north", dataset)
    assert decodings == ["north", "north"]
    assert first.digest != second.digest
    assert (second.images == 5).all()


def test_a_changed_picture_of_a_table_is_decoded(
    write_table: Writer, dataset: Dataset, read_anew: Callable[..., SiteData]
) -> None:
    data = write_table([{"file": f"{name}.png", "label": "normal"} for name in "abc"], folder="hill")
    first = read_anew(data, "hill", dataset)
    (data / "hill" / "b.png").write_bytes(b"no image any more")
    assert len(first.images) == 3
    assert read_site(data, "hill", dataset) is first  # a run goes on with the images that it began with
    assert len(read_anew(data, "hill", dataset).bad) == 1


@pytest.mark.parametrize("change", [{"image_px": 9}, {"name": "other"}, {"classes": ("a", "b", "c")}])
def test_other_settings_are_another_entry(
    write_site: Writer, dataset: Dataset, read_anew: Callable[..., SiteData], decodings: list[str], change: Any
) -> None:
    data = write_site()
    read_anew(data, "north", dataset)
    read_anew(data, "north", dataset.model_copy(update=change))
    assert decodings == ["north", "north"]


def test_the_fraction_of_labels_decides_nothing(
    write_site: Writer, dataset: Dataset, read_anew: Callable[..., SiteData], decodings: list[str]
) -> None:
    data = write_site()
    read_anew(data, "north", dataset)
    read_anew(data, "north", dataset.model_copy(update={"label_fraction": 0.5}))
    assert decodings == ["north"]


def test_moved_files_share_what_was_decoded(
    write_site: Writer, dataset: Dataset, read_anew: Callable[..., SiteData], folder: Path
) -> None:
    data = write_site()
    read_anew(data, "north", dataset)
    moved = data / "moved"
    moved.mkdir()
    (data / "north.npz").rename(moved / "north.npz")
    read_anew(moved, "north", dataset)
    assert len(list((folder / "decoded").iterdir())) == 1
    assert len(list((folder / "stamps").iterdir())) == 2


@pytest.mark.parametrize("damage", [("images.npy", 0), ("images.npy", 20), ("facts.json", 0), ("facts.json", 20)])
def test_a_damaged_entry_is_decoded_anew(
    write_site: Writer, dataset: Dataset, read_anew: Callable[..., SiteData], folder: Path, damage: tuple[str, int]
) -> None:
    damaged, keep = damage
    data = write_site()
    first = read_anew(data, "north", dataset)
    pixels = np.array(first.images)
    (entry,) = (folder / "decoded").iterdir()
    (entry / damaged).write_bytes((entry / damaged).read_bytes()[:keep])
    assert (read_anew(data, "north", dataset).images == pixels).all()
    assert (read_anew(data, "north", dataset).images == pixels).all()


def test_an_entry_that_was_damaged_before_its_files_moved_is_decoded_anew(
    write_site: Writer, dataset: Dataset, read_anew: Callable[..., SiteData], folder: Path
) -> None:
    data = write_site()
    pixels = np.array(read_anew(data, "north", dataset).images)
    (entry,) = (folder / "decoded").iterdir()
    (entry / "images.npy").write_bytes(b"")
    os.utime(data / "north.npz", (1, 1))
    assert (read_anew(data, "north", dataset).images == pixels).all()
    assert (read_anew(data, "north", dataset).images == pixels).all()


def test_an_entry_that_another_process_deletes_meanwhile_is_read_all_the_same(
    write_site: Writer, dataset: Dataset, read_anew: Callable[..., SiteData], folder: Path, monkeypatch: Any
) -> None:
    data = write_site()
    pixels = np.array(read_anew(data, "north", dataset).images)
    load = cache._load

    def load_and_lose(place: Path) -> cache.Entry:
        entry = load(place)
        shutil.rmtree(place)
        return entry

    monkeypatch.setattr(cache, "_load", load_and_lose)
    assert (read_anew(data, "north", dataset).images == pixels).all()
    assert not list((folder / "decoded").iterdir())


def test_a_folder_that_vanishes_while_room_is_made_is_no_fault(
    write_site: Writer,
    dataset: Dataset,
    read_anew: Callable[..., SiteData],
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    iterdir = Path.iterdir

    def with_others_at_work(place: Path) -> Iterator[Path]:
        yield place / "gone before it was looked at"
        going = place / f"{cache.UNFINISHED}going"
        going.mkdir()
        yield going
        going.rmdir()
        yield from iterdir(place)

    monkeypatch.setattr(Path, "iterdir", with_others_at_work)
    assert isinstance(read_anew(write_site(), "north", dataset).images, np.memmap)
    assert folder.exists()


def test_what_a_killed_process_left_half_written_is_deleted_a_day_later(
    write_site: Writer, dataset: Dataset, read_anew: Callable[..., SiteData], folder: Path
) -> None:
    old, new = (folder / "decoded" / f"{cache.UNFINISHED}{name}" for name in ("old", "new"))
    for place in (old, new):
        (place / "entry").mkdir(parents=True)
    os.utime(old, (1, 1))
    read_anew(write_site(), "north", dataset)
    assert not old.exists()
    assert new.exists()


def test_an_unwritable_cache_is_told_and_changes_nothing(  # noqa: PLR0917 - one fixture each
    write_site: Writer,
    dataset: Dataset,
    read_anew: Callable[..., SiteData],
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    data = write_site()
    first = read_anew(data, "north", dataset)
    (folder / "no folder").write_text("")
    monkeypatch.setenv(cache.FOLDER, str(folder / "no folder"))
    with caplog.at_level(logging.WARNING):
        second = read_anew(data, "north", dataset)
    assert (first.images == second.images).all()
    assert first.images.strides == second.images.strides  # torch takes other ones for another memory format
    assert "cannot be kept on disk" in caplog.text
    assert str(folder) not in caplog.text


def test_the_folder_is_its_owners_alone(
    write_site: Writer, dataset: Dataset, read_anew: Callable[..., SiteData], folder: Path
) -> None:
    read_anew(write_site(), "north", dataset)
    assert {path.stat().st_mode & 0o777 for path in (folder / "decoded", folder / "stamps")} == {0o700}


def test_an_error_is_not_kept(write_site: Writer, dataset: Dataset, read_anew: Callable[..., SiteData]) -> None:
    with pytest.raises(DataError):
        read_anew(write_site(labels=np.full(24, 9)), "north", dataset)
    with pytest.raises(DataError):
        read_anew(write_site(labels=np.full(24, 9)), "north", dataset)


def test_the_entry_that_was_not_used_for_longest_makes_room(
    write_site: Writer,
    dataset: Dataset,
    read_anew: Callable[..., SiteData],
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read_anew(write_site("north"), "north", dataset)
    (first,) = (folder / "decoded").iterdir()
    os.utime(first, (1, 1))
    read_anew(write_site("river"), "river", dataset)
    assert first.exists()
    monkeypatch.setattr(cache, "LARGEST_PART", 0.0)
    read_anew(write_site("coast"), "coast", dataset)
    assert not first.exists()
    assert len(list((folder / "decoded").iterdir())) == 1


@pytest.mark.parametrize("shape", [(3, 1, 4, 4), (3, 4, 4, 1), (1, 1, 5), (6,), (2, 3)])
@pytest.mark.parametrize("axes", ["as they are", "turned"])
def test_an_array_that_stays_in_memory_lies_there_as_its_file_would(
    shape: tuple[int, ...], axes: str, tmp_path: Path
) -> None:
    array = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    array = array if axes == "as they are" else np.moveaxis(array, 0, -1)
    np.save(tmp_path / "array.npy", array)
    written, kept = np.load(tmp_path / "array.npy"), cache._as_written(array)
    assert (kept.strides, kept.tobytes()) == (written.strides, written.tobytes())
