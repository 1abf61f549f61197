"""Volumes, clips and reports: from files and arrays to cards and batches."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
from PIL import Image

from fedward_core.cards import DataKind, Split, agreed_contract
from fedward_core.errors import DataError
from fedward_core.spec import Dataset
from fedward_models.data import split_site
from fedward_models.data.batches.loader import Loader
from fedward_models.data.card import describe
from fedward_models.data.image_set import open_split
from fedward_models.data.site_data import read_site

Writer = Callable[..., Path]
CLASSES = ("normal", "pneumonia", "effusion")
SPLIT = np.array(["train"] * 18 + ["test"] * 6)
RNG = np.random.default_rng(3)
TEXTS = np.array([f"Film number {index}: no effusion." for index in range(24)])


def volumes(**values: Any) -> Dataset:
    return Dataset(name="ct", kind=DataKind.VOLUME, image_px=8, depth=6, classes=CLASSES, **values)


def clips(**values: Any) -> Dataset:
    return Dataset(name="echo", kind=DataKind.CLIP, image_px=8, classes=CLASSES, **{"frames": 4, **values})


def reports() -> Dataset:
    return Dataset(name="notes", kind=DataKind.REPORT, image_px=8, classes=CLASSES)


@pytest.fixture
def write_volumes(write_site: Writer) -> Writer:
    """A site of 24 random volumes in an ``.npz`` file."""

    def write(site: str = "north", **changes: Any) -> Path:
        pixels = RNG.integers(0, 256, (24, 6, 8, 8), dtype=np.uint8)
        return write_site(site, images=None, **{"volumes": pixels, "split": SPLIT, "patient": None, **changes})

    return write


@pytest.fixture
def write_clips(write_site: Writer) -> Writer:
    """A site of 24 clips of 10 numbered frames in an ``.npz`` file."""

    def write(site: str = "north", **changes: Any) -> Path:
        pixels = np.broadcast_to(np.arange(10, dtype=np.uint8)[:, None, None], (24, 10, 8, 8))
        return write_site(site, images=None, **{"clips": pixels, "split": SPLIT, "patient": None, **changes})

    return write


def test_volumes_become_batches_of_volumes(write_volumes: Writer) -> None:
    data = write_volumes()
    images = open_split(data, "north", volumes(), Split.TRAIN)
    (batch,) = Loader(images, batch_size=18, augment=True).epoch(0)
    assert batch.images.shape == (18, 1, 6, 8, 8)
    assert images.contract.kind is DataKind.VOLUME
    assert images.contract.depth == 6
    plain = next(iter(Loader(images, batch_size=4, augment=False).in_order(4)))
    pixels = torch.from_numpy(read_site(data, "north", volumes()).images[:4]).float() / 255
    torch.testing.assert_close(plain.images * plain.std + plain.mean, pixels)


def test_augmentation_moves_all_slices_of_a_volume_alike(write_volumes: Writer) -> None:
    one = RNG.integers(0, 256, (24, 1, 8, 8), dtype=np.uint8)
    data = write_volumes(volumes=np.repeat(one, 6, axis=1))
    loader = Loader(open_split(data, "north", volumes(), Split.TRAIN), batch_size=6, augment=True)
    for batch in loader.epoch(1):
        torch.testing.assert_close(batch.images, batch.images[:, :, :1].expand_as(batch.images))


def test_eight_bit_volumes_keep_their_levels(write_volumes: Writer) -> None:
    data = write_volumes()
    with np.load(data / "north.npz") as file:
        assert (read_site(data, "north", volumes()).images[:, 0] == file["volumes"]).all()


def test_sites_with_voxels_of_different_sizes_are_refused_unless_resampled(write_volumes: Writer) -> None:
    write_volumes("north", spacing_mm=np.array([3.0, 1.0, 1.0]))
    data = write_volumes("river", spacing_mm=np.array([5.0, 1.0, 1.0]))
    cards = tuple(describe(data, site, volumes()) for site in ("north", "river"))
    with pytest.raises(DataError, match="spacing_mm is"):
        agreed_contract(cards)
    resampled = volumes(spacing_mm=(2.0, 1.0, 1.0))
    agreed = agreed_contract(tuple(describe(data, site, resampled) for site in ("north", "river")))
    assert agreed.spacing_mm == (2.0, 1.0, 1.0)


def test_a_site_with_mixed_spacings_is_refused_unless_resampled(write_volumes: Writer) -> None:
    data = write_volumes(spacings_mm=np.array([[3.0, 1.0, 1.0]] * 23 + [[5.0, 1.0, 1.0]]))
    with pytest.raises(DataError, match=r"site 'north': mixed spacings.*Set dataset\.spacing_mm"):
        read_site(data, "north", volumes())
    assert len(read_site(data, "north", volumes(spacing_mm=(3.0, 1.0, 1.0))).images) == 24


def test_volumes_are_dealt_to_pseudo_sites_with_their_spacings(write_volumes: Writer, tmp_path: Path) -> None:
    pixels = np.broadcast_to(np.arange(24, dtype=np.uint8)[:, None, None, None], (24, 6, 8, 8))
    spacings = np.array([[1.0 + index, 1.0, 1.0] for index in range(24)])
    paths = split_site(write_volumes(volumes=pixels, spacings_mm=spacings), "north", 3, tmp_path / "cut", seed=0)
    for path in paths:
        with np.load(path) as file:
            assert len(file["volumes"]) == 8
            assert (file["spacings_mm"][:, 0] == 1.0 + file["volumes"][:, 0, 0, 0]).all()


def test_volumes_of_unknown_spacing_cannot_be_resampled(write_volumes: Writer) -> None:
    with pytest.raises(DataError, match="its voxel size is not known"):
        read_site(write_volumes(), "north", volumes(spacing_mm=(3.0, 1.0, 1.0)))


def test_only_the_frames_of_the_clip_are_read(write_clips: Writer) -> None:
    content = read_site(write_clips(), "north", clips(frame_stride=2))
    assert content.images.shape == (24, 1, 4, 8, 8)
    assert content.images[0, 0, :, 0, 0].tolist() == [1, 3, 5, 7]
    assert content.contract.depth == 4


def test_clips_in_colour_have_three_channels(write_clips: Writer) -> None:
    pixels = RNG.integers(0, 256, (24, 4, 8, 8, 3), dtype=np.uint8)
    content = read_site(write_clips(clips=pixels), "north", clips())
    assert (content.images == pixels.transpose(0, 4, 1, 2, 3)).all()


def test_clips_that_are_too_short_are_refused(write_clips: Writer) -> None:
    with pytest.raises(DataError, match="site 'north': clips have 10 frames, expected at least 13"):
        read_site(write_clips(), "north", clips(frame_stride=4))


@pytest.mark.parametrize("dataset", [volumes(), clips()])
def test_a_file_without_what_the_kind_needs_is_refused(write_site: Writer, dataset: Dataset) -> None:
    with pytest.raises(DataError, match=f"no array '{dataset.kind}s', which kind '{dataset.kind}' needs"):
        read_site(write_site(), "north", dataset)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"volumes": np.zeros((24, 6, 8), np.uint8)}, r"volumes have shape \(24, 6, 8\), expected \(N, D, H, W\)"),
        ({"volumes": np.zeros((24, 6, 8, 8), np.int16)}, "volumes are int16, expected uint8"),
        ({"volumes": np.zeros((24, 6, 8, 8, 3), np.uint8)}, r"shape \(24, 6, 8, 8, 3\), expected \(N, D, H, W\)"),
        ({"volumes": np.zeros((24, 6, 0, 8), np.uint8)}, r"shape \(24, 6, 0, 8\), expected \(N, D, H, W\)"),
        ({"spacing_mm": np.array(["3", "1", "1"])}, "expected depth, height and width in mm"),
        ({"spacing_mm": np.array([1.0, 1.0])}, "expected depth, height and width in mm"),
        ({"spacing_mm": np.array([0.0, 1.0, 1.0])}, "expected depth, height and width in mm"),
    ],
)
def test_volumes_of_another_form_are_refused(write_volumes: Writer, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_site(write_volumes(**changes), "north", volumes())


def test_a_window_means_nothing_to_eight_bits(write_volumes: Writer) -> None:
    with pytest.raises(DataError, match=r"dataset\.window has no effect"):
        read_site(write_volumes(), "north", volumes(window=(0, 100)))


def test_reports_come_with_their_images(write_site: Writer) -> None:
    data = write_site(reports=TEXTS, split=SPLIT, patient=None)
    images = open_split(data, "north", reports(), Split.TRAIN)
    assert images.subset(torch.tensor([3, 1])).reports == (TEXTS[3], TEXTS[1])
    for batch in Loader(images, batch_size=5, augment=False).epoch(2):
        assert batch.reports is not None
        numbers = [int(text.split()[2][:-1]) for text in batch.reports]
        own = torch.from_numpy(read_site(data, "north", reports()).images[numbers]).float() / 255
        torch.testing.assert_close(batch.images * batch.std + batch.mean, own)


def test_no_report_is_ever_printed_or_told(write_site: Writer) -> None:
    data = write_site(reports=TEXTS, split=SPLIT, patient=None)
    images = open_split(data, "north", reports(), Split.TRAIN)
    batch = next(iter(Loader(images, batch_size=5, augment=False).epoch(0)))
    shown = [repr(value) for value in (batch, images, read_site(data, "north", reports()))]
    shown.append(describe(data, "north", reports()).model_dump_json())
    assert not any("Film number" in text for text in shown)


def test_empty_reports_are_skipped_and_counted(write_site: Writer) -> None:
    texts = TEXTS.copy()
    texts[5] = "  "
    content = read_site(write_site(reports=texts, split=SPLIT, patient=None), "north", reports())
    assert len(content.images) == 23
    assert [(bad.name, bad.reason) for bad in content.bad] == [("image 5", "its report is empty")]
    assert content.reports is not None
    assert content.reports[5] == TEXTS[6]


def test_images_without_reports_are_no_reports(write_site: Writer) -> None:
    with pytest.raises(DataError, match="no array 'reports', which kind 'report' needs"):
        read_site(write_site(), "north", reports())


def test_images_with_reports_serve_methods_of_images(write_site: Writer, dataset: Dataset) -> None:
    assert read_site(write_site(reports=TEXTS), "north", dataset).reports is None


def test_a_table_lists_reports_as_text_or_as_files(write_table: Writer) -> None:
    rows = [{"file": f"{name}.png", "label": "normal", "report": "", "report_file": f"{name}.txt"} for name in "abcd"]
    rows[1] |= {"report": "Clear lungs.", "report_file": ""}
    data = write_table(rows, folder="hill", images={f"{name}.png": Image.new("L", (9, 9), 50) for name in "abcd"})
    for name, text in (("a", b"Large heart.\n"), ("c", b"\xff\xfe bad"), ("d", b" \n")):
        (data / "hill" / f"{name}.txt").write_bytes(text)
    content = read_site(data, "hill", reports())
    assert content.reports == ("Large heart.", "Clear lungs.")
    assert [bad.reason for bad in content.bad] == ["its report is missing or no UTF-8 text", "its report is empty"]


def test_a_table_without_reports_is_refused(write_table: Writer) -> None:
    with pytest.raises(DataError, match="no column 'report' or 'report_file'"):
        read_site(write_table([{"file": "a.png", "label": "normal"}], folder="hill"), "hill", reports())


def test_a_table_lists_volumes_and_skips_what_is_none(write_table: Writer) -> None:
    names = ("a.nii.gz", "b.nii", "four.nii", "c.png")
    rows = [{"file": name, "label": "normal"} for name in names]
    place = write_table([{"file": "c.png", "label": "normal"}], folder="hill") / "hill"
    for name, shape in zip(names, [(5, 6, 7), (8, 6, 7), (5, 6, 7, 2)], strict=False):
        values = RNG.normal(size=shape).astype(np.float32)
        nibabel.save(nibabel.Nifti1Image(values, np.diag([2, 2, 2, 1])), place / name)  # type: ignore[no-untyped-call]
    content = read_site(write_table(rows, folder="hill"), "hill", volumes())
    assert content.images.shape == (2, 1, 6, 8, 8)
    assert content.sizes.tolist() == [[7, 6, 5], [7, 6, 8]]
    assert content.contract.spacing_mm == (2.0, 2.0, 2.0)
    assert [(bad.name, bad.reason[:6]) for bad in content.bad] == [("four.nii", "4 axes"), ("c.png", "no vol")]


def test_a_window_means_nothing_to_a_png(write_table: Writer) -> None:
    data = write_table([{"file": "a.png", "label": "normal"}], folder="hill")
    with pytest.raises(DataError, match=r"no usable image: 1 files were skipped: .*window.* \(1\)$"):
        read_site(data, "hill", Dataset(name="x", image_px=8, window=(0, 1)))


def test_a_site_without_a_usable_file_is_told_why_and_not_which(write_table: Writer) -> None:
    rows = [{"file": name, "label": "normal"} for name in ("jane.nii", "john.nii", "c.png")]
    place = write_table(rows[2:], folder="hill") / "hill"
    for name in ("jane.nii", "john.nii"):
        values = RNG.normal(size=(5, 6, 7, 2)).astype(np.float32)
        nibabel.save(nibabel.Nifti1Image(values, np.diag([2, 2, 2, 1])), place / name)  # type: ignore[no-untyped-call]
    data = write_table(rows, folder="hill")
    with pytest.raises(DataError, match=r"3 files were skipped: 4 axes.* \(2\); no volume.* \(1\)$") as raised:
        read_site(data, "hill", volumes())
    assert not any(name in str(raised.value) for name in ("jane", "john", "c.png"))
