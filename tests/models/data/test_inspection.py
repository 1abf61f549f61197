"""A look at the data, at the site."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from fedward_core.cards import DataKind, Task
from fedward_core.spec import Dataset
from fedward_models.data.inspection.inspection import bad_files, inspect
from fedward_models.data.inspection.picture import inspect_picture

Writer = Callable[..., Path]


def test_every_site_is_summarised_in_order(write_site: Writer, dataset: Dataset) -> None:
    write_site("river")
    summaries = inspect(write_site("coast"), dataset)
    assert [summary.card.site for summary in summaries] == ["coast", "river"]


def test_figures_are_those_of_the_pixels(write_site: Writer, dataset: Dataset) -> None:
    data = write_site()
    with np.load(data / "north.npz") as file:
        pixels = file["images"] / 255
    (summary,) = inspect(data, dataset)
    assert np.isclose(summary.mean, pixels.mean())
    assert np.isclose(summary.std, pixels.std())
    expected = np.histogram(pixels, bins=np.append(np.arange(32) * 8, 256) / 255.0000001)[0]
    assert list(summary.histogram) == expected.tolist()
    assert sum(summary.histogram) == pixels.size


def test_sizes_span_those_of_the_files(write_table: Writer, dataset: Dataset) -> None:
    rows = [{"file": name, "label": "normal"} for name in ("a.png", "b.png")]
    images = {"a.png": Image.new("L", (30, 20)), "b.png": Image.new("L", (12, 40))}
    (summary,) = inspect(write_table(rows, folder="hill", images=images), dataset)
    assert (summary.smallest, summary.largest) == ((20, 12), (40, 30))


def test_bad_files_are_listed_even_when_they_are_too_many(write_table: Writer, dataset: Dataset) -> None:
    data = write_table([{"file": f"{name}.png", "label": "normal"} for name in "abc"], folder="hill")
    (data / "hill" / "b.png").write_bytes(b"no image")
    (summary,) = inspect(data, dataset)
    assert summary.bad == bad_files(data, "hill", dataset)
    assert [(bad.name, "missing or damaged" in bad.reason) for bad in summary.bad] == [("b.png", True)]


def test_examples_are_of_different_classes(write_site: Writer, dataset: Dataset) -> None:
    (summary,) = inspect(write_site(), dataset)
    assert summary.example_classes == (("normal",), ("pneumonia",), ("effusion",)) * 2
    assert summary.examples.shape == (6, 1, 8, 8)
    assert summary.example_masks is None


def test_an_example_names_all_its_findings_and_is_shown_once(write_site: Writer, dataset: Dataset) -> None:
    findings = np.zeros((24, 3), dtype=np.uint8)
    findings[1], findings[4] = (1, 0, 1), (0, 0, 1)
    several = dataset.model_copy(update={"task": Task.MULTI_LABEL, "classes": ("opacity", "effusion", "nodule")})
    (summary,) = inspect(write_site(labels=None, findings=findings), several)
    assert summary.example_classes == (("opacity", "nodule"), ("nodule",))
    assert len(summary.examples) == 2


def test_masks_lie_over_the_examples_of_segmentation(write_site: Writer, tmp_path: Path, dataset: Dataset) -> None:
    masks = np.zeros((24, 8, 8), dtype=np.uint8)
    masks[:, 2:6, 2:6] = 1
    outlined = dataset.model_copy(update={"task": Task.SEGMENTATION, "classes": ("background", "lung")})
    (summary,) = inspect(write_site(labels=None, masks=masks), outlined)
    assert summary.example_classes == (("background", "lung"),) * 6
    assert summary.example_masks is not None
    assert (summary.example_masks == masks[:6]).all()
    inspect_picture([summary], tmp_path / "masks.png")
    with Image.open(tmp_path / "masks.png") as picture:
        levels = np.asarray(picture.convert("RGB")).astype(int)
    examples = levels[:, levels.shape[1] // 3 :]
    assert (np.ptp(examples, axis=2) > 20).any()  # grey pixels, and colour where the mask is


def test_volumes_and_clips_are_shown_by_their_middle(write_site: Writer, tmp_path: Path) -> None:
    volumes = np.random.default_rng(0).integers(0, 256, (24, 5, 8, 8), dtype=np.uint8)
    dataset = Dataset(name="ct", kind=DataKind.VOLUME, depth=5, image_px=8)
    (summary,) = inspect(write_site(images=None, volumes=volumes, labels=None), dataset)
    assert (summary.examples[:, 0] == volumes[:6, 2]).all()
    assert summary.smallest == (5, 8, 8)
    inspect_picture([summary], tmp_path / "volumes.png")
    assert (tmp_path / "volumes.png").exists()


def test_a_picture_is_drawn_with_labels_and_without_in_grey_and_colour(
    write_site: Writer, tmp_path: Path, dataset: Dataset
) -> None:
    write_site("bare", labels=None, images=np.random.default_rng(0).integers(0, 256, (24, 8, 8, 3), dtype=np.uint8))
    summaries = inspect(write_site("north"), dataset)
    inspect_picture(summaries, tmp_path / "out" / "sites.png")
    with Image.open(tmp_path / "out" / "sites.png") as picture:
        assert picture.width > 1000
        assert picture.height > 400
