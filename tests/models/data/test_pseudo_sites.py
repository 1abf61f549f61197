"""One site's file into several."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fedward_core.errors import DataError
from fedward_core.spec import Dataset
from fedward_models.data.site_data import read_site
from fedward_models.data.source import sites_in
from fedward_models.data.splitting.pseudo_sites import split_dirichlet, split_site

Writer = Callable[..., Path]


def _groups(path: Path) -> Counter[tuple[int, str]]:
    """Images of each class and split."""
    with np.load(path) as file:
        return Counter(zip(file["labels"].tolist(), file["split"].tolist(), strict=True))


def test_parts_hold_every_image_once_and_no_patient_twice(write_site: Writer, tmp_path: Path) -> None:
    paths = split_site(write_site(id=np.arange(24)), "north", 3, tmp_path / "parts", seed=0)
    assert [path.name for path in paths] == ["north-1.npz", "north-2.npz", "north-3.npz"]
    files = [dict(np.load(path)) for path in paths]
    assert sorted(np.concatenate([file["id"] for file in files])) == list(range(24))
    patients = [set(file["patient"]) for file in files]
    assert sum(map(len, patients)) == len(set.union(*patients)) == 12


def test_an_image_of_nobody_that_is_named_is_dealt_as_a_patient_of_its_own(write_site: Writer, tmp_path: Path) -> None:
    paths = split_site(write_site(patient=np.full(24, "")), "north", 3, tmp_path / "parts", seed=0)
    assert [len(np.load(path)["images"]) for path in paths] == [8, 8, 8]


def test_parts_are_sites_with_the_classes_of_the_whole(write_site: Writer, tmp_path: Path, unnamed: Dataset) -> None:
    data = write_site(classes=np.array(["a", "b", "c"]))
    split_site(data, "north", 2, tmp_path / "parts", seed=0)
    assert sites_in(tmp_path / "parts") == ("north-1", "north-2")
    assert read_site(tmp_path / "parts", "north-2", unnamed).contract.classes == ("a", "b", "c")


def test_labels_that_are_no_class_numbers_are_refused(write_site: Writer, tmp_path: Path) -> None:
    names = np.array(["normal", "ill", "worse"] * 8)
    data = write_site(labels=names)
    with pytest.raises(DataError, match="expected class numbers: their names are 'classes'"):
        split_site(data, "north", 2, tmp_path / "parts", seed=0)
    with pytest.raises(DataError, match="one class number for each image"):
        split_dirichlet(data, "north", 2, tmp_path / "parts", alpha=1.0)
    with pytest.raises(DataError, match="numbers of something else"):
        split_site(write_site(labels=np.full(24, 20261126)), "north", 2, tmp_path / "parts", seed=0)
    assert not (tmp_path / "parts").exists()


def test_parts_are_alike_in_each_class_and_split(write_site: Writer, tmp_path: Path) -> None:
    splits = np.repeat(["train", "val", "test"], 8)
    paths = split_site(write_site(split=splits, patient=None), "north", 2, tmp_path / "parts", seed=0)
    first, second = (_groups(path) for path in paths)
    assert set(first) == set(second)
    assert all(abs(first[group] - second[group]) <= 1 for group in first)


def test_the_same_seed_writes_the_same_bytes(write_site: Writer, tmp_path: Path) -> None:
    data = write_site()
    once = split_site(data, "north", 2, tmp_path / "once", seed=5)
    again = split_site(data, "north", 2, tmp_path / "again", seed=5)
    assert [path.read_bytes() for path in once] == [path.read_bytes() for path in again]


def test_a_site_of_masks_alone_can_be_split(write_site: Writer, tmp_path: Path) -> None:
    data = write_site(labels=None, masks=np.zeros((24, 8, 8), dtype=np.uint8))
    assert len(split_site(data, "north", 2, tmp_path / "parts", seed=0)) == 2


def test_more_parts_than_patients_are_refused(write_site: Writer, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="site 'north' has 12 patients, too few for 13 parts"):
        split_site(write_site(), "north", 13, tmp_path / "parts", seed=0)


def test_a_folder_of_files_is_not_split(write_table: Writer, tmp_path: Path) -> None:
    data = write_table([{"file": "a.png", "label": "0"}], folder="hill")
    with pytest.raises(DataError, match=r"only an \.npz file can be split"):
        split_site(data, "hill", 2, tmp_path / "parts", seed=0)


def test_skewed_parts_hold_every_image_once(write_site: Writer, tmp_path: Path) -> None:
    paths = split_dirichlet(write_site(id=np.arange(24)), "north", 2, tmp_path / "parts", alpha=1.0)
    assert sorted(np.concatenate([np.load(path)["id"] for path in paths])) == list(range(24))
    assert all(len(np.load(path)["images"]) >= 10 for path in paths)


def test_a_site_without_class_numbers_cannot_be_skewed(write_site: Writer, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected 'labels' with one class number for each image"):
        split_dirichlet(write_site(labels=None), "north", 2, tmp_path / "parts", alpha=1.0)
