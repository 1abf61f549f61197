"""The table of a folder of files."""

import os
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image

from fedward_core.cards import DataKind
from fedward_core.errors import DataError
from fedward_core.spec import Dataset
from fedward_models.data import list_files
from fedward_models.data.inspection import listing
from fedward_models.data.site_data import read_site


def test_a_folder_of_each_class_becomes_a_table_that_is_read(tmp_path: Path) -> None:
    site = tmp_path / "west"
    for label in ("normal", "ill"):
        (site / label).mkdir(parents=True)
        for number in range(2):
            Image.new("L", (8, 8), 9 * number).save(site / label / f"{number}.PNG")
    (site / "notes.txt").write_text("no image")
    table, count = list_files(site, DataKind.IMAGE)
    assert count == 4
    assert table.read_text(encoding="utf-8").splitlines()[:2] == ["file,label,patient", "ill/0.PNG,ill,"]
    content = read_site(tmp_path, "west", Dataset(name="x", image_px=8, classes=("normal", "ill")))
    assert content.labels is not None
    assert content.labels.tolist() == [1, 1, 0, 0]


def test_volumes_are_nifti_files_and_folders_of_slices(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(np.zeros((2, 2, 2)), np.eye(4))  # type: ignore[no-untyped-call]
    nibabel.save(image, tmp_path / "a.nii.gz")
    for series in ("ill/first", "second"):
        (tmp_path / series).mkdir(parents=True)
        for number in range(3):
            (tmp_path / series / f"{number}.dcm").write_bytes(b"")
    table, count = list_files(tmp_path, DataKind.VOLUME)
    assert count == 3
    assert table.read_text(encoding="utf-8").splitlines()[1:] == ["a.nii.gz,,", "ill/first,ill,", "second,,"]


def test_what_a_system_hides_is_not_listed(tmp_path: Path) -> None:
    for name in ("a.png", "._a.png", ".Trash/b.png", "ill/._b.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    table, _ = list_files(tmp_path, DataKind.IMAGE)
    assert table.read_text(encoding="utf-8").splitlines()[1:] == ["a.png,,"]


def test_clips_are_videos(tmp_path: Path) -> None:
    for name in ("a.mp4", "b.GIF", "c.png"):
        (tmp_path / name).write_bytes(b"")
    assert list_files(tmp_path, DataKind.CLIP)[1] == 2


def test_a_table_is_never_written_over(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("mine")
    with pytest.raises(DataError, match=r"there is a labels\.csv already"):
        list_files(tmp_path, DataKind.IMAGE)
    assert (tmp_path / "labels.csv").read_text() == "mine"


def test_an_empty_folder_has_nothing_to_list(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="found no file of kind 'volume'"):
        list_files(tmp_path, DataKind.VOLUME)


def test_a_listing_that_fails_leaves_no_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path) -> str:
        raise RuntimeError("no answer")

    (tmp_path / "a.png").write_bytes(b"")
    monkeypatch.setattr(listing, "patient_of", fail)
    with pytest.raises(RuntimeError):
        list_files(tmp_path, DataKind.IMAGE)
    assert not (tmp_path / "labels.csv").exists()


def test_a_name_that_is_no_text_is_refused_and_leaves_no_table(tmp_path: Path) -> None:
    for name in (b"a.png", b"caf\xe9.png"):
        (tmp_path / os.fsdecode(name)).write_bytes(b"")
    with pytest.raises(DataError, match="1 of 2 names are no UTF-8 text"):
        list_files(tmp_path, DataKind.IMAGE)
    assert not (tmp_path / "labels.csv").exists()
