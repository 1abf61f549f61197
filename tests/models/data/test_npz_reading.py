"""One .npz file for each site."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fedward_core.cards import Split, Task
from fedward_core.errors import DataError
from fedward_core.spec import Dataset
from fedward_models.data.reading.npz_file import write_npz
from fedward_models.data.site_data import read_site

Writer = Callable[..., Path]


def test_images_come_back_as_they_were_written(write_site: Writer, dataset: Dataset) -> None:
    data = write_site()
    with np.load(data / "north.npz") as file:
        written = file["images"]
    content = read_site(data, "north", dataset)
    np.testing.assert_array_equal(content.images[:, 0], written)
    assert content.labels is not None
    assert content.labels.tolist() == [0, 1, 2] * 8


def test_colour_images_come_channel_first(write_site: Writer, dataset: Dataset) -> None:
    images = np.random.default_rng(0).integers(0, 256, (24, 8, 8, 3), dtype=np.uint8)
    content = read_site(write_site(images=images), "north", dataset)
    assert content.contract.channels == 3
    np.testing.assert_array_equal(content.images[5, 2], images[5, :, :, 2])


def test_images_are_resized_to_the_study(write_site: Writer) -> None:
    images = np.full((24, 20, 30), 77, dtype=np.uint8)
    content = read_site(write_site(images=images), "north", Dataset(name="chest", image_px=12))
    assert content.images.shape == (24, 1, 12, 12)
    assert (content.images == 77).all()
    assert content.sizes[0].tolist() == [20, 30]


def test_float_images_are_refused_in_plain_words(write_site: Writer, dataset: Dataset) -> None:
    with pytest.raises(DataError, match="site 'north': images are float64, expected uint8 with 0 for black"):
        read_site(write_site(images=np.zeros((24, 8, 8))), "north", dataset)


@pytest.mark.parametrize("shape", [(24, 8), (24, 8, 8, 4), (24, 1, 8, 8), (24, 0, 8)])
def test_images_of_another_shape_are_refused(write_site: Writer, dataset: Dataset, shape: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match="images have shape"):
        read_site(write_site(images=np.zeros(shape, dtype=np.uint8)), "north", dataset)


@pytest.mark.parametrize("key", ["labels", "patient", "split"])
def test_arrays_of_another_length_are_refused(write_site: Writer, dataset: Dataset, key: str) -> None:
    with pytest.raises(DataError, match=f"'{key}' has shape .* expected one entry for each of 24 images"):
        read_site(write_site(**{key: np.zeros(23, dtype=np.int64)}), "north", dataset)


@pytest.mark.parametrize("key", ["patient", "split"])
def test_two_names_for_an_image_are_refused(write_site: Writer, dataset: Dataset, key: str) -> None:
    with pytest.raises(DataError, match=f"'{key}' has shape .24, 2., expected one entry for each of 24 images"):
        read_site(write_site(**{key: np.full((24, 2), "train")}), "north", dataset)


def test_a_file_without_images_is_refused(write_site: Writer, dataset: Dataset) -> None:
    with pytest.raises(DataError, match="has no array 'images'"):
        read_site(write_site(images=None), "north", dataset)


def test_a_site_with_no_image_at_all_is_refused(write_site: Writer, dataset: Dataset) -> None:
    data = write_site(images=np.zeros((0, 8, 8), dtype=np.uint8), labels=np.zeros(0, dtype=np.int64), patient=None)
    with pytest.raises(DataError, match="site 'north' has no usable image"):
        read_site(data, "north", dataset)


@pytest.mark.parametrize("content", [b"", b"no zip file", b"PK\x03\x04 cut off"])
def test_a_damaged_file_is_refused(tmp_path: Path, dataset: Dataset, content: bytes) -> None:
    (tmp_path / "north.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"site 'north': the \.npz file is damaged"):
        read_site(tmp_path, "north", dataset)


def test_a_file_with_flipped_bytes_is_refused(tmp_path: Path, dataset: Dataset) -> None:
    images = np.random.default_rng(0).integers(0, 256, (24, 8, 8), dtype=np.uint8)
    write_npz(tmp_path / "north.npz", {"images": images})
    content = bytearray((tmp_path / "north.npz").read_bytes())
    content[300:400] = bytes(100)
    (tmp_path / "north.npz").write_bytes(content)
    with pytest.raises(DataError, match="damaged"):
        read_site(tmp_path, "north", dataset)


def test_no_python_object_is_ever_unpickled(write_site: Writer, dataset: Dataset) -> None:
    with pytest.raises(DataError, match="holds Python objects"):
        read_site(write_site(patient=np.array([{"name": 1}] * 24, dtype=object)), "north", dataset)


@pytest.mark.parametrize(
    ("labels", "task"),
    [
        (np.array(["normal", "pneumonia"] * 12), Task.CLASSIFICATION),
        (np.full(24, np.nan), Task.CLASSIFICATION),
        (np.zeros((24, 2), dtype=np.int64), Task.CLASSIFICATION),
        (np.zeros(24, dtype=np.int64), Task.MULTI_LABEL),
    ],
)
def test_labels_that_are_no_class_numbers_are_refused_where_no_class_is_named(
    write_site: Writer, labels: np.ndarray, task: Task
) -> None:
    data = write_site(labels=labels, classes=None)
    with pytest.raises(DataError, match=r"expected whole numbers with .* their names stand in 'classes'"):
        read_site(data, "north", Dataset(name="x", image_px=8, task=task))


def test_numbers_of_something_else_are_no_classes(write_site: Writer, tmp_path: Path) -> None:
    bare = Dataset(name="x", image_px=8)
    with pytest.raises(DataError, match="labels go up to 20261126, expected class numbers that begin with 0"):
        read_site(write_site(labels=np.full(24, 20261126), classes=None), "north", bare)
    (tmp_path / "hill").mkdir()
    Image.new("L", (8, 8)).save(tmp_path / "hill" / "a.png")
    (tmp_path / "hill" / "labels.csv").write_text("file,label\na.png,20261126\n")
    with pytest.raises(DataError, match="labels go up to 20261126"):
        read_site(tmp_path, "hill", bare)


@pytest.mark.parametrize("label", [3, -1])
def test_a_label_outside_the_classes_is_named_with_the_classes(
    write_site: Writer, dataset: Dataset, label: int
) -> None:
    with pytest.raises(DataError, match=rf"label '{label}' is none of the 3 classes \(normal, pneumonia, effusion\)"):
        read_site(write_site(labels=np.array([0] * 23 + [label])), "north", dataset)


def test_labels_that_are_no_whole_numbers_are_refused(write_site: Writer, dataset: Dataset) -> None:
    with pytest.raises(DataError, match="labels are float64 with 1 axes, expected whole numbers with 1"):
        read_site(write_site(labels=np.zeros(24)), "north", dataset)


def test_classes_come_from_the_study_then_the_file_then_numbers(
    write_site: Writer, dataset: Dataset, unnamed: Dataset
) -> None:
    named = write_site("named", classes=np.array(["a", "b", "c"]))
    write_site("bare")
    assert read_site(named, "named", dataset).contract.classes == dataset.classes
    assert read_site(named, "named", unnamed).contract.classes == ("a", "b", "c")
    assert read_site(named, "bare", unnamed).contract.classes == ("class 0", "class 1", "class 2")


def test_labels_follow_the_names_of_their_classes_and_not_the_order_of_a_file(
    write_site: Writer, dataset: Dataset
) -> None:
    names = np.array(["effusion", "normal"])
    content = read_site(write_site(labels=np.arange(24) % 2, classes=names), "north", dataset)
    assert content.contract.classes == ("normal", "pneumonia", "effusion")
    assert content.labels is not None
    assert content.labels.tolist() == [2, 0] * 12


def test_texts_that_are_kept_as_bytes_are_text(write_site: Writer, unnamed: Dataset) -> None:
    """As programs write them that know no other texts, e.g. through HDF5."""
    patients = np.array(["Müller", *map(str, range(23))])
    names = np.char.encode(["a", "b", "ö"], "utf-8")
    content = read_site(write_site(classes=names, patient=np.char.encode(patients, "utf-8")), "north", unnamed)
    assert content.contract.classes == ("a", "b", "ö")
    assert content.patients.tolist() == patients.tolist()
    data = write_site("latin", patient=np.char.encode(patients, "latin-1"))
    with pytest.raises(DataError, match="texts that are no UTF-8"):
        read_site(data, "latin", unnamed)


def test_other_words_for_all_classes_change_no_number(write_site: Writer, dataset: Dataset) -> None:
    content = read_site(write_site(classes=np.array(["Befund 0", "Befund 1", "Befund 2"])), "north", dataset)
    assert content.labels is not None
    assert content.labels.tolist() == [0, 1, 2] * 8


def test_a_class_of_a_file_that_the_study_does_not_have_is_named(write_site: Writer, dataset: Dataset) -> None:
    data = write_site(classes=np.array(["normal", "pneumonia", "fracture"]))
    with pytest.raises(DataError, match="label 'fracture' is none of the 3 classes"):
        read_site(data, "north", dataset)


def test_masks_follow_the_names_of_their_classes(write_site: Writer, segments: Dataset) -> None:
    data = write_site(masks=np.full((24, 8, 8), 1, dtype=np.uint8), masks_classes=np.array(["lung", "background"]))
    study = segments.model_copy(update={"classes": ("background", "heart", "lung")})
    content = read_site(data, "north", study)
    assert content.labels is not None
    assert not content.labels.any()


def test_findings_follow_their_names(write_site: Writer, findings: Dataset) -> None:
    marks = np.arange(48).reshape(24, 2) % 3 % 2
    data = write_site(findings=marks, findings_classes=np.array(["opacity", "nodule"]))
    content = read_site(data, "north", findings.model_copy(update={"classes": ("nodule", "opacity")}))
    np.testing.assert_array_equal(content.labels, marks[:, ::-1])


def test_a_finding_that_a_file_does_not_label_is_not_taken_for_absent(write_site: Writer, findings: Dataset) -> None:
    data = write_site(findings=np.eye(24, 2, dtype=np.int64), findings_classes=np.array(["opacity", "nodule"]))
    study = findings.model_copy(update={"classes": ("opacity", "effusion")})
    with pytest.raises(DataError, match="its findings are opacity, nodule, those of the study opacity, effusion"):
        read_site(data, "north", study)


def test_a_site_without_labels_can_be_read(write_site: Writer, dataset: Dataset) -> None:
    content = read_site(write_site(labels=None), "north", dataset)
    assert content.labels is None
    assert content.contract.classes == dataset.classes


def test_findings_are_read_for_multi_label_and_have_names_of_their_own(write_site: Writer, findings: Dataset) -> None:
    marks = np.arange(48).reshape(24, 2) % 3 % 2
    data = write_site(
        findings=marks, findings_classes=np.array(["opacity", "nodule"]), classes=np.array(["a", "b", "c"])
    )
    content = read_site(data, "north", findings)
    assert content.contract.classes == ("opacity", "nodule")
    assert content.labels is not None
    assert content.labels.dtype == np.float32
    np.testing.assert_array_equal(content.labels, marks)


def test_two_dimensional_labels_serve_multi_label(write_site: Writer, findings: Dataset) -> None:
    content = read_site(write_site(labels=np.eye(24, 4, dtype=np.int64)), "north", findings)
    assert content.contract.classes == ("class 0", "class 1", "class 2", "class 3")


def test_findings_other_than_zero_and_one_are_refused(write_site: Writer, findings: Dataset) -> None:
    with pytest.raises(DataError, match="label '2' found, expected 0 or 1"):
        read_site(write_site(labels=np.full((24, 2), 2)), "north", findings)


def test_findings_of_another_number_than_the_classes_are_refused(write_site: Writer) -> None:
    study = Dataset(name="chest", image_px=8, task=Task.MULTI_LABEL, classes=("a", "b", "c"))
    with pytest.raises(DataError, match="labels have 2 columns, expected one for each of 3 classes"):
        read_site(write_site(labels=np.zeros((24, 2), dtype=np.int64)), "north", study)


def test_masks_are_resized_without_mixing_classes(write_site: Writer, segments: Dataset) -> None:
    masks = np.zeros((24, 32, 32), dtype=np.uint8)
    masks[:, :, 16:] = 2
    content = read_site(write_site(images=np.zeros((24, 32, 32), dtype=np.uint8), masks=masks), "north", segments)
    assert content.labels is not None
    assert content.labels[0, 0].tolist() == [0, 0, 0, 0, 2, 2, 2, 2]


def test_masks_of_another_size_are_refused(write_site: Writer, segments: Dataset) -> None:
    with pytest.raises(DataError, match=r"masks have shape \(24, 9, 8\), expected that of the images"):
        read_site(write_site(masks=np.zeros((24, 9, 8), dtype=np.uint8)), "north", segments)


def test_given_splits_are_kept(write_site: Writer, dataset: Dataset) -> None:
    content = read_site(
        write_site(split=np.array(["train", "train", "val", "val", "test", "test"] * 4)), "north", dataset
    )
    assert content.indices(Split.VALIDATION).tolist() == [2, 3, 8, 9, 14, 15, 20, 21]


def test_an_unknown_split_is_refused(write_site: Writer, dataset: Dataset) -> None:
    with pytest.raises(DataError, match="split 'validation' found, expected train, val, test"):
        read_site(write_site(split=np.array(["train"] * 22 + ["validation"] * 2)), "north", dataset)


def test_a_patient_in_two_splits_is_refused_without_a_name(write_site: Writer, dataset: Dataset) -> None:
    with pytest.raises(DataError, match="1 patients are in more than one split") as refusal:
        read_site(write_site(split=np.array(["train"] * 23 + ["test"])), "north", dataset)
    assert "patient-" not in str(refusal.value)


def test_a_changed_file_is_read_again(write_site: Writer, dataset: Dataset) -> None:
    data = write_site()
    first = read_site(data, "north", dataset)
    assert read_site(data, "north", dataset) is first
    write_site(labels=np.zeros(24, dtype=np.int64), id=np.arange(24))
    second = read_site(data, "north", dataset)
    assert second.digest != first.digest
    assert second.labels is not None
    assert not second.labels.any()
