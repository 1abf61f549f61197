"""Image files listed in a table."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fedward_core.cards import DataKind, Split
from fedward_core.errors import DataError
from fedward_core.spec import Dataset
from fedward_models.data.card import describe
from fedward_models.data.site_data import read_site

Writer = Callable[..., Path]


def rows_of(count: int, **cells: str) -> list[dict[str, str]]:
    return [{"file": f"{index:02d}.png", "label": "normal", **cells} for index in range(count)]


def photograph() -> Image.Image:
    pixels = np.zeros((10, 12, 3), dtype=np.uint8)
    pixels[..., 0] = 200
    return Image.fromarray(pixels)


def test_labels_are_names_of_the_studys_classes(write_table: Writer, dataset: Dataset) -> None:
    rows = rows_of(3)
    rows[1]["label"], rows[2]["label"] = "effusion", "1"
    content = read_site(write_table(rows, folder="hill"), "hill", dataset)
    assert content.labels is not None
    assert content.labels.tolist() == [0, 2, 1]
    assert content.sizes.tolist() == [[10, 12]] * 3


def test_an_unknown_label_is_named_with_the_classes(write_table: Writer, dataset: Dataset) -> None:
    with pytest.raises(DataError, match=r"label 'flu' is none of the 3 classes \(normal, pneumonia, effusion\)"):
        read_site(write_table(rows_of(2, label="flu"), folder="hill"), "hill", dataset)


def test_a_missing_label_is_refused(write_table: Writer, unnamed: Dataset) -> None:
    rows = rows_of(3)
    rows[1]["label"] = ""
    with pytest.raises(DataError, match="a row has no label, though others have: give each image one"):
        read_site(write_table(rows, folder="hill"), "hill", unnamed)


def test_a_table_whose_labels_are_all_empty_is_that_of_images_without_labels(
    write_table: Writer, unnamed: Dataset
) -> None:
    content = read_site(write_table(rows_of(3, label=""), folder="hill"), "hill", unnamed)
    assert content.labels is None
    assert len(content.images) == 3


def test_empty_cells_of_several_findings_are_healthy_images(write_table: Writer, findings: Dataset) -> None:
    content = read_site(write_table(rows_of(3, label=""), folder="hill"), "hill", findings)
    assert content.labels is not None
    assert not content.labels.any()


def test_sites_of_one_table_agree_on_its_classes(write_table: Writer, unnamed: Dataset) -> None:
    rows = [*rows_of(2, site="hill"), {"file": "x.png", "label": "covid", "site": "coast"}]
    data = write_table(rows)
    assert read_site(data, "hill", unnamed).contract.classes == ("covid", "normal")
    assert read_site(data, "coast", unnamed).contract.classes == ("covid", "normal")
    assert len(read_site(data, "coast", unnamed).images) == 1


def test_numbers_as_labels_are_class_numbers(write_table: Writer, unnamed: Dataset) -> None:
    rows = rows_of(3, label="0")
    rows[2]["label"] = "2"
    content = read_site(write_table(rows, folder="hill"), "hill", unnamed)
    assert content.contract.classes == ("class 0", "class 1", "class 2")


def test_several_findings_stand_in_one_cell(write_table: Writer, findings: Dataset) -> None:
    rows = rows_of(3, label="nodule | opacity")
    rows[1]["label"], rows[2]["label"] = "", "nodule"
    content = read_site(write_table(rows, folder="hill"), "hill", findings)
    assert content.contract.classes == ("nodule", "opacity")
    assert content.labels is not None
    assert content.labels.tolist() == [[1, 1], [0, 0], [1, 0]]


def test_a_column_path_serves_as_well(tmp_path: Path, dataset: Dataset) -> None:
    (tmp_path / "hill").mkdir()
    photograph().save(tmp_path / "hill" / "a.png")
    (tmp_path / "hill" / "labels.csv").write_text("path,label\na.png,normal\n")
    assert len(read_site(tmp_path, "hill", dataset).images) == 1


def test_a_table_without_files_is_refused(tmp_path: Path, dataset: Dataset) -> None:
    (tmp_path / "hill").mkdir()
    (tmp_path / "hill" / "labels.csv").write_text("image,label\na.png,normal\n")
    with pytest.raises(DataError, match="has no column 'file'; of the others that are read it has label"):
        read_site(tmp_path, "hill", dataset)


@pytest.mark.parametrize("content", ["meier.png,normal,Meier\nb.png,normal,Huber\n", "file;label\nmeier.png;normal\n"])
def test_a_table_without_a_row_of_names_is_refused_without_telling_a_patient(
    tmp_path: Path, dataset: Dataset, content: str
) -> None:
    (tmp_path / "hill").mkdir()
    (tmp_path / "hill" / "labels.csv").write_text(content)
    with pytest.raises(DataError, match=r"it has none\. Its first row names the columns") as refusal:
        read_site(tmp_path, "hill", dataset)
    assert "eier" not in str(refusal.value)


@pytest.mark.parametrize(("sign", "called"), [(";", "semicolons"), ("\t", "tabs")])
def test_a_table_with_other_signs_than_commas_is_told_which(
    tmp_path: Path, dataset: Dataset, sign: str, called: str
) -> None:
    (tmp_path / "hill").mkdir()
    (tmp_path / "hill" / "labels.csv").write_text(sign.join(("File", "label")) + "\n" + sign.join(("a.png", "normal")))
    with pytest.raises(DataError, match=f"where {called} are found: save it with commas"):
        read_site(tmp_path, "hill", dataset)


def test_a_table_with_a_first_row_only_lists_nothing(tmp_path: Path, dataset: Dataset) -> None:
    (tmp_path / "hill").mkdir()
    (tmp_path / "hill" / "labels.csv").write_text("file,label\n")
    with pytest.raises(DataError, match=r"has no usable image: 'labels.csv' lists none"):
        read_site(tmp_path, "hill", dataset)


def test_splits_and_patients_are_read(write_table: Writer, dataset: Dataset) -> None:
    rows = [row | {"split": "test", "patient": "p"} for row in rows_of(2)]
    content = read_site(write_table(rows, folder="hill"), "hill", dataset)
    assert content.indices(Split.TEST).tolist() == [0, 1]
    assert content.patients.tolist() == ["p", "p"]


def test_an_image_of_nobody_that_is_named_is_a_patient_of_its_own(write_table: Writer, dataset: Dataset) -> None:
    rows = [row | {"patient": patient} for row, patient in zip(rows_of(4), ["p", "", "p", " "], strict=True)]
    content = read_site(write_table(rows, folder="hill"), "hill", dataset)
    assert content.patients.tolist() == ["p", "image 1", "p", "image 3"]


def write_text(folder: Path, text: str) -> Path:
    """A site ``hill`` with 20 films and a table as people type it."""
    (folder / "hill").mkdir()
    for index in range(20):
        Image.fromarray(np.full((9, 9), 5 * index, dtype=np.uint8)).save(folder / "hill" / f"{index:02d}.png")
    (folder / "hill" / "labels.csv").write_text(text, encoding="utf-8")
    return folder


TYPED = [f"{index:02d}.png,{'normal' if index % 2 else 'effusion'},p{index // 2},train" for index in range(20)]


@pytest.mark.parametrize(
    "head", ["file,Label,PATIENT,Split", "File, label, patient , split", "path,label,patient,split"]
)
@pytest.mark.parametrize("comma", [",", " , "])
def test_columns_are_known_by_their_names_whatever_their_case_and_spaces(
    tmp_path: Path, dataset: Dataset, head: str, comma: str
) -> None:
    rows = [line.replace(",", comma).replace(f".png{comma}", ".png,") for line in TYPED]
    content = read_site(write_text(tmp_path, "\n".join([head, *rows])), "hill", dataset)
    assert content.labels is not None
    assert content.labels.tolist() == [2, 0] * 10
    assert content.patients.tolist() == [f"p{index // 2}" for index in range(20)]
    assert set(content.splits) == {"train"}


def test_a_patient_with_a_space_behind_is_the_same_patient(tmp_path: Path, dataset: Dataset) -> None:
    lines = ["file,label,patient,split", "00.png,normal,p1,train", "01.png,normal,p1 ,test"]
    with pytest.raises(DataError, match="1 patients are in more than one split"):
        read_site(write_text(tmp_path, "\n".join(lines)), "hill", dataset)


def test_a_column_that_is_there_twice_is_refused(tmp_path: Path, dataset: Dataset) -> None:
    with pytest.raises(DataError, match="the column 'label' more than once"):
        read_site(write_text(tmp_path, "file,label,Label\n00.png,normal,effusion\n"), "hill", dataset)


@pytest.mark.parametrize("again", ["00.png,effusion,,test", "./00.png,effusion,,test"])
def test_a_file_that_two_rows_list_is_refused_without_its_name(tmp_path: Path, dataset: Dataset, again: str) -> None:
    """It would be trained on and tested on, as that of two patients."""
    lines = ["file,label,patient,split", "00.png,normal,,train", "01.png,normal,,train", again]
    with pytest.raises(DataError, match=r"1 rows of labels\.csv list a file that another row lists too") as refusal:
        read_site(write_text(tmp_path, "\n".join(lines)), "hill", dataset)
    assert ".png" not in str(refusal.value)


def test_rows_and_cells_that_a_spreadsheet_leaves_empty_are_none(tmp_path: Path, dataset: Dataset) -> None:
    lines = ["file,label,patient,split", *(f"{line},," for line in TYPED), ",,,", " ,,,,,"]
    content = read_site(write_text(tmp_path, "\n".join(lines)), "hill", dataset)
    assert (len(content.images), content.bad) == (20, ())


def test_a_row_without_a_file_is_bad(tmp_path: Path, dataset: Dataset) -> None:
    lines = ["file,label,patient,split", *TYPED, ",normal,p99,train", " ,normal,p99,train"]
    bad = read_site(write_text(tmp_path, "\n".join(lines)), "hill", dataset).bad
    assert [file.reason for file in bad] == ["its row names no file"] * 2


def test_a_file_that_is_not_there_is_told_from_a_damaged_one(tmp_path: Path, dataset: Dataset) -> None:
    lines = ["file,label,patient,split", *TYPED, "ward\\20.png,normal,p99,train"]
    (bad,) = read_site(write_text(tmp_path, "\n".join(lines)), "hill", dataset).bad
    assert bad.reason == "not there: names begin at the table's folder and have / between folders"


@pytest.mark.parametrize("column", ["file", "mask", "report_file"])
@pytest.mark.parametrize("place", ["pipe.png", "pipe.dcm", "/dev/zero"])
def test_what_has_no_end_is_not_read(tmp_path: Path, dataset: Dataset, column: str, place: str) -> None:
    """Opening a pipe that nobody writes to waits forever, and a device may be read forever."""
    rows = [f"{index:02d}.png,,,report" for index in range(20)]
    cells = {"file": "00.png", "mask": "", "report_file": "", column: place}
    lines = [
        "file,mask,report_file,report",
        *rows[1:],
        f"{cells['file']},{cells['mask']},{cells['report_file']},report",
    ]
    data = write_text(tmp_path, "\n".join(lines))
    if not place.startswith("/"):
        os.mkfifo(data / "hill" / place)
    study = dataset.model_copy(update={"kind": DataKind.REPORT})
    (bad,) = read_site(data, "hill", study).bad
    assert bad.reason == "a pipe or a device: expected files"


def test_a_name_that_no_file_can_have_is_that_of_a_bad_file(tmp_path: Path, dataset: Dataset) -> None:
    """A quote that is not closed makes one cell of many rows."""
    lines = ["file,label,patient,split", *TYPED, f'"{"x" * 5000},normal,p99,train']
    content = read_site(write_text(tmp_path, "\n".join(lines)), "hill", dataset)
    assert (len(content.images), len(content.bad)) == (20, 1)


@pytest.mark.parametrize("label", ["mueller", "4711", "p"])
def test_labels_that_name_patients_are_refused_and_stay_at_the_site(
    tmp_path: Path, unnamed: Dataset, findings: Dataset, label: str
) -> None:
    """As where the folders of an export are those of patients, and a listing takes folders for labels."""
    lines = ["file,label,patient", *(f"{index:02d}.png,{label}{index // 2},{index // 2}" for index in range(20))]
    data = write_text(tmp_path, "\n".join(lines))
    for study in (unnamed, findings):
        with pytest.raises(DataError, match="each of its 10 labels is that of one patient only") as refusal:
            read_site(data, "hill", study)
        assert label not in str(refusal.value).split()


def test_labels_of_a_handful_of_patients_are_labels(tmp_path: Path, unnamed: Dataset) -> None:
    lines = ["file,label", *(f"{index:02d}.png,{index}" for index in range(5))]
    assert len(read_site(write_text(tmp_path, "\n".join(lines)), "hill", unnamed).contract.classes) == 5


def test_grey_films_stored_in_colour_are_grey(write_table: Writer, dataset: Dataset) -> None:
    film = Image.fromarray(np.full((10, 12), 90, dtype=np.uint8))
    data = write_table(rows_of(2), folder="hill", images={"00.png": film.convert("RGB"), "01.png": film})
    content = read_site(data, "hill", dataset)
    assert content.contract.channels == 1
    assert (content.images == 90).all()


def test_one_tinted_film_leaves_a_site_grey(write_table: Writer, dataset: Dataset) -> None:
    content = read_site(write_table(rows_of(3), folder="hill", images={"01.png": photograph()}), "hill", dataset)
    assert content.contract.channels == 1
    assert abs(int(content.images[1].max()) - 0.299 * 200) < 1


def test_photographs_make_a_site_colour(write_table: Writer, dataset: Dataset) -> None:
    images = {"00.png": photograph(), "01.png": photograph()}
    content = read_site(write_table(rows_of(3), folder="hill", images=images), "hill", dataset)
    assert content.contract.channels == 3
    assert content.images[0, :, 0, 0].tolist() == [200, 0, 0]


def test_bad_files_are_skipped_counted_and_never_named_on_the_card(write_table: Writer, dataset: Dataset) -> None:
    data = write_table(rows_of(40), folder="hill")
    (data / "hill" / "03.png").write_bytes(b"no image")
    (data / "hill" / "05.png").unlink()
    card = describe(data, "hill", dataset)
    assert card.num_skipped == 2
    assert sum(card.num_images.values()) == 38
    assert "03.png" not in card.model_dump_json()
    assert [bad.name for bad in read_site(data, "hill", dataset).bad] == ["03.png", "05.png"]


def test_too_many_bad_files_are_refused_without_their_names(write_table: Writer, dataset: Dataset) -> None:
    data = write_table(rows_of(40), folder="hill")
    for index in range(3):
        (data / "hill" / f"{index:02d}.png").write_bytes(b"no image")
    with pytest.raises(DataError, match="3 of 40 files cannot be used, more than 5%") as refusal:
        describe(data, "hill", dataset)
    assert ".png" not in str(refusal.value)
    assert describe(data, "hill", dataset, max_bad=0.1).num_skipped == 3


def test_a_cut_off_file_is_bad(write_table: Writer, dataset: Dataset) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 60), dtype=np.uint8))
    data = write_table(rows_of(2), folder="hill", images={"00.png": noise})
    content = (data / "hill" / "00.png").read_bytes()
    (data / "hill" / "00.png").write_bytes(content[: len(content) // 2])
    assert len(read_site(data, "hill", dataset).bad) == 1


def test_masks_beside_images_are_read_as_class_numbers(write_table: Writer, tmp_path: Path, segments: Dataset) -> None:
    numbers = np.zeros((10, 12), dtype=np.uint8)
    numbers[:, 6:] = 1
    palette = Image.fromarray(numbers).convert("P")
    palette.putpalette([0, 0, 0, 255, 0, 0])
    data = write_table([{"file": "a.png", "mask": "m.png"}], folder="hill")
    palette.save(data / "hill" / "m.png")
    content = read_site(data, "hill", segments)
    assert content.labels is not None
    assert content.labels[0, 0].tolist() == [0, 0, 0, 0, 1, 1, 1, 1]


def test_a_mask_of_another_size_makes_its_image_unusable(write_table: Writer, segments: Dataset) -> None:
    data = write_table([{"file": "a.png", "mask": "m.png"}, {"file": "b.png", "mask": "b.png"}], folder="hill")
    Image.fromarray(np.zeros((10, 11), dtype=np.uint8)).save(data / "hill" / "m.png")
    Image.fromarray(np.zeros((10, 12), dtype=np.uint8)).save(data / "hill" / "b.png")
    assert [bad.name for bad in read_site(data, "hill", segments).bad] == ["a.png"]


def test_the_digest_follows_the_files(write_table: Writer, dataset: Dataset) -> None:
    data = write_table(rows_of(4), folder="hill")
    before = describe(data, "hill", dataset).digest
    other = Dataset(name="other", image_px=8, classes=dataset.classes)
    assert describe(data, "hill", other).digest == before
    photograph().save(data / "hill" / "02.png")
    third = Dataset(name="third", image_px=8, classes=dataset.classes)
    assert describe(data, "hill", third).digest != before


def test_a_file_that_nobody_may_open_is_skipped_and_the_others_stand(
    write_table: Writer, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def locked(opener: Callable[..., Any]) -> Callable[..., Any]:
        def opened(path: Path, *arguments: Any, **keywords: Any) -> Any:
            if Path(path).name == "00.png":
                raise PermissionError(13, "Permission denied", str(path))
            return opener(path, *arguments, **keywords)

        return opened

    data = write_table(rows_of(24), folder="hill")
    monkeypatch.setattr(Path, "open", locked(Path.open))
    monkeypatch.setattr(Image, "open", locked(Image.open))
    content = read_site(data, "hill", dataset)
    assert [bad.name for bad in content.bad] == ["00.png"]
    assert len(content.images) == 23


def test_a_table_that_nobody_may_open_is_told_without_its_folder(
    write_table: Writer, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def locked(path: Path, *_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    data = write_table(rows_of(3), folder="hill")
    monkeypatch.setattr(Path, "open", locked)
    with pytest.raises(DataError, match=r"cannot read a labels\.csv") as refusal:
        read_site(data, "hill", dataset)
    assert str(data) not in str(refusal.value)
