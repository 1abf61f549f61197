"""A folder of files is there whole or not at all."""

import os
import subprocess
from pathlib import Path

import pytest

from fedward_core.atomic import drop_leftovers, filling, writer_of
from fedward_core.errors import CheckpointError


def test_a_folder_is_there_once_it_is_whole_and_for_its_owner_alone(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "results"
    with filling(folder) as temporary:
        (temporary / "a").write_text("all")
        assert temporary.stat().st_mode & 0o777 == 0o700
        assert not folder.exists()
    assert [(path.name, path.read_text()) for path in folder.iterdir()] == [("a", "all")]
    assert folder.stat().st_mode & 0o777 == 0o700
    assert list(folder.parent.iterdir()) == [folder]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_any_other_error_passes_and_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error), filling(tmp_path / "results") as temporary:  # noqa: PT012 - both lines of the block
        (temporary / "a").write_text("half")
        raise error
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CheckpointError, match="cannot write 'results': No space left on device"):
        fill(tmp_path / "results")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_was_filled_meanwhile_stays_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "results"
    with pytest.raises(CheckpointError, match="cannot write 'results'"), filling(folder) as temporary:  # noqa: PT012
        (temporary / "mine").touch()
        folder.mkdir()
        (folder / "theirs").touch()
    assert [path.name for path in folder.iterdir()] == ["theirs"]
    assert list(tmp_path.iterdir()) == [folder]


def test_files_are_flushed_before_the_folder_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[str] = []

    def flush(descriptor: int) -> None:
        flushed.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)

    monkeypatch.setattr(os, "fsync", flush)
    fill(tmp_path / "results")
    assert flushed == ["a", f".results.{writer_of(os.getpid())}.part", tmp_path.name]


def test_what_a_killed_process_had_begun_of_the_same_folder_is_removed(tmp_path: Path) -> None:
    with subprocess.Popen(["true"]) as killed:
        killed.wait()
    left, other = (tmp_path / f".{name}.{killed.pid}.part" for name in ("re[s]ults", "other"))
    alive = tmp_path / f".re[s]ults.{os.getppid()}.part"
    for half in (left, other, alive):
        half.mkdir()
        (half / "a").write_text("half")
    fill(tmp_path / "re[s]ults")
    assert sorted(tmp_path.iterdir()) == sorted([alive, other, tmp_path / "re[s]ults"])


def test_what_an_earlier_process_with_the_id_of_a_living_one_had_begun_is_removed(tmp_path: Path) -> None:
    """In a container, the process that is started again often has the id of the one that was killed."""
    pid, started, boot = writer_of(os.getppid()).split("-")
    names = {
        "of it": f"{pid}-{started}-{boot}",
        "of an older release": pid,
        "of an earlier start": f"{pid}-{int(started) - 1}-{boot}",
        "of an earlier boot": f"{pid}-{started}-{'0' * 8}",
        "of nobody": "x-1-y",
    }
    parts = {whose: tmp_path / f".results.{name}.part" for whose, name in names.items()}
    for part in parts.values():
        part.touch()
    drop_leftovers(tmp_path)
    assert [whose for whose, part in parts.items() if part.exists()] == ["of it", "of an older release", "of nobody"]


def fill(folder: Path) -> None:
    with filling(folder) as temporary:
        (temporary / "a").write_text("all")
