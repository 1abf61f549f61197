"""The folder in which one more site holds the images of all."""

import os
import shutil
from pathlib import Path

import pytest

from fedward_cli.comparison.pooled_folder import pooled_folder, remove_pooled
from fedward_core.errors import DataError

SITES = ("hill", "north", "river")


def test_images_that_were_pooled_from_another_data_folder_are_not_taken_for_these(
    hospitals: Path, tmp_path: Path
) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(hospitals, moved)
    folder = pooled_folder(tmp_path / "pooled", moved, kept=SITES, sites=SITES)
    assert pooled_folder(folder, moved, kept=SITES, sites=SITES) == folder
    with pytest.raises(DataError, match="of another data folder"):
        pooled_folder(folder, hospitals, kept=SITES, sites=SITES)
    shutil.rmtree(moved)  # the links dangle
    with pytest.raises(DataError, match="of another data folder"):
        pooled_folder(folder, hospitals, kept=SITES, sites=SITES)


def test_images_that_were_pooled_from_other_sites_are_not_taken_for_these(hospitals: Path, tmp_path: Path) -> None:
    few = pooled_folder(tmp_path / "few", hospitals, kept=SITES[:2], sites=SITES)
    with pytest.raises(DataError, match="are of the sites hill, north, expected hill, north, river"):
        pooled_folder(few, hospitals, kept=SITES, sites=SITES)
    whole = pooled_folder(tmp_path / "whole", hospitals, kept=SITES, sites=SITES)
    (whole / "pooled.npz").unlink()  # interrupted before it was there
    with pytest.raises(DataError, match="are of the sites hill, north, river, expected hill, north:"):
        pooled_folder(whole, hospitals, kept=SITES[:2], sites=SITES)
    assert pooled_folder(whole, hospitals, kept=SITES, sites=SITES) == whole
    assert (whole / "pooled.npz").exists()


def test_images_that_have_changed_since_are_not_taken_for_those_that_were_pooled(
    hospitals: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    shutil.copytree(hospitals, data)
    folder = pooled_folder(tmp_path / "pooled", data, kept=SITES, sites=SITES)
    later = (folder / "pooled.npz").stat().st_mtime_ns + 1
    os.utime(data / "north.npz", ns=(later, later))
    with pytest.raises(DataError, match="have changed since they were pooled"):
        pooled_folder(folder, data, kept=SITES, sites=SITES)


def test_what_was_pooled_is_removed_and_nothing_beside_it(hospitals: Path, tmp_path: Path) -> None:
    home = tmp_path / "pooled"
    pooled_folder(home / "all", hospitals, kept=SITES, sites=SITES)
    (home / "seed-0").mkdir()  # of an arm with that name
    remove_pooled(home)
    assert [path.name for path in home.iterdir()] == ["seed-0"]
    assert (hospitals / "hill.npz").exists()


def test_a_site_may_not_bear_the_name_of_all_together(hospitals: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="rename its file"):
        pooled_folder(tmp_path / "pooled", hospitals, kept=SITES, sites=(*SITES, "pooled"))
