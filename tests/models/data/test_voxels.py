"""Volumes onto the study's grid."""

import gzip
from itertools import permutations, product
from pathlib import Path

import nibabel
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedward_core.arrays import Array
from fedward_core.cards import DataKind
from fedward_core.spec import Dataset
from fedward_models.data.reading import decoding
from fedward_models.data.reading.decoding import decode_file
from fedward_models.data.reading.found import UnusableFileError
from fedward_models.data.reading.nifti import read_nifti_scan
from fedward_models.data.reading.voxels import Volume, canonical, contrast_of, on_grid, resample, to_levels

AFFINE = np.diag([-2.0, -3.0, 4.0, 1.0])  # already to the left, the back and the head


def study(depth: int = 4, px: int = 8, **values: object) -> Dataset:
    return Dataset.model_validate({"name": "x", "kind": DataKind.VOLUME, "depth": depth, "image_px": px, **values})


def volume_in(path: Path) -> Volume:
    return canonical(*read_nifti_scan(path))


def head() -> Array:
    """(D, H, W) with a value of its own at every place."""
    return np.arange(4 * 6 * 5, dtype=np.float32).reshape(4, 6, 5)


@pytest.mark.parametrize(("order", "signs"), list(product(permutations(range(3)), product([1, -1], repeat=3))))
def test_however_a_volume_is_stored_it_comes_out_alike(order: tuple[int, ...], signs: tuple[int, ...]) -> None:
    """All 48 ways to lay out the axes of one head."""
    stored, affine = head().transpose(2, 1, 0), AFFINE.copy()
    stored, affine = stored.transpose(order), affine[:, [*order, 3]]
    for axis, sign in enumerate(signs):
        if sign < 0:
            stored = np.flip(stored, axis)
            affine[:, axis] *= -1
    volume = canonical(stored, affine)
    assert (volume.values == head()).all()
    assert volume.spacing_mm == pytest.approx((4.0, 3.0, 2.0))


def test_slices_go_to_the_head_rows_to_the_back_and_columns_to_the_left() -> None:
    stored = np.zeros((5, 6, 4), dtype=np.float32)  # right, front, head, as RAS counts
    stored[4, 0, 3] = 1  # the rightmost, hindmost, uppermost voxel
    volume = canonical(stored, np.eye(4))
    assert tuple(np.argwhere(volume.values)[0]) == (3, 5, 0)


def test_an_affine_without_three_directions_is_unusable() -> None:
    with pytest.raises(UnusableFileError, match="its affine is singular"):
        canonical(head(), np.diag([1.0, 1.0, 0.0, 1.0]))


def test_a_header_of_nonsense_is_unusable(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(np.zeros((4, 4, 4), dtype=np.int16), np.eye(4))  # type: ignore[no-untyped-call]
    nibabel.save(image, tmp_path / "a.nii")
    content = bytearray((tmp_path / "a.nii").read_bytes())
    content[70:72] = (9999).to_bytes(2, "little")  # the type of its values
    (tmp_path / "a.nii").write_bytes(content)
    with pytest.raises(UnusableFileError, match="damaged"):
        decode_file(tmp_path / "a.nii", study())


def test_a_lack_of_memory_is_no_fault_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path) -> None:
        raise MemoryError

    monkeypatch.setattr(decoding, "read_nifti_scan", full)
    with pytest.raises(MemoryError):
        decode_file(tmp_path / "a.nii", study())


def test_without_a_spacing_a_volume_fills_the_grid() -> None:
    decoded = on_grid(Volume(np.tile(np.linspace(0, 100, 20, dtype=np.float32), (8, 16, 1)), (1.0, 1.0, 1.0)), study())
    assert decoded.pixels.shape == (4, 8, 8)
    assert decoded.pixels.dtype == np.uint8
    assert (np.diff(decoded.pixels[0, 0].astype(int)) > 0).all()
    assert decoded.size == (8, 16, 20)


def test_a_spacing_keeps_what_is_in_the_middle_at_its_size_in_millimetres() -> None:
    ball = ball_of(radius_mm=10, spacing_mm=(2.0, 1.0, 1.0), shape=(30, 60, 60))
    pixels = on_grid(ball, study(depth=32, px=32, spacing_mm=(1.0, 1.0, 1.0), window=(0, 1))).pixels
    volume_mm3 = (pixels > 127).sum()
    assert volume_mm3 == pytest.approx(4 / 3 * np.pi * 10**3, rel=0.05)


def test_what_lies_outside_the_volume_is_black() -> None:
    bright = Volume(np.full((4, 4, 4), 5, dtype=np.float32), (1.0, 1.0, 1.0))
    pixels = on_grid(bright, study(depth=8, px=8, spacing_mm=(1.0, 1.0, 1.0), window=(0, 5))).pixels
    assert (pixels[2:6, 2:6, 2:6] == 255).all()
    assert int(pixels.astype(int).sum()) == 255 * 64


def test_a_volume_of_unknown_spacing_cannot_be_resampled_to_one() -> None:
    with pytest.raises(UnusableFileError, match="its voxel size is not known"):
        on_grid(Volume(head(), None), study(spacing_mm=(1.0, 1.0, 1.0)))


@given(st.integers(1, 12), st.integers(1, 12))
def test_resizing_what_is_alike_keeps_it_alike(old: int, new: int) -> None:
    resized = resample(np.full((old, 3), 7.0, dtype=np.float32), (new, 3), [old / new, 1.0])
    np.testing.assert_allclose(resized, 7.0, rtol=1e-5)


def test_resizing_to_the_same_grid_changes_nothing() -> None:
    np.testing.assert_allclose(resample(head(), head().shape, [1.0, 1.0, 1.0]), head(), rtol=1e-6)


def test_shrinking_averages_over_everything() -> None:
    """A fine pattern does not turn into a coarse one."""
    stripes = np.tile([0.0, 1.0], 32).astype(np.float32)
    shrunk = resample(stripes, (8,), [8.0])
    assert np.abs(shrunk[1:-1] - 0.5).max() < 0.02


def test_black_and_white_are_percentiles_and_the_window_where_there_is_one() -> None:
    values = np.concatenate([np.linspace(0, 100, 1000), [1e6]]).astype(np.float32)
    low, high = contrast_of(values)
    assert 0 < low < 1
    assert 99 < high <= 100
    assert to_levels(np.array([-5.0, 0.0, 5.0, 10.0, 50.0]), (0.0, 10.0)).tolist() == [0, 0, 127.5, 255, 255]


@pytest.mark.parametrize("values", [np.zeros((2, 2, 2)), np.full((2, 2, 2), np.nan)])
def test_a_volume_that_shows_nothing_is_unusable(values: Array) -> None:
    with pytest.raises(UnusableFileError, match="every value is alike"):
        on_grid(Volume(values, None), study())


def test_a_few_bright_voxels_in_the_dark_are_contrast() -> None:
    values = np.zeros(10_000)
    values[3] = 5
    assert contrast_of(values) == (0.0, 5.0)


def test_what_is_no_number_is_black() -> None:
    assert to_levels(np.array([np.nan, -np.inf, np.inf]), (0.0, 1.0)).tolist() == [0, 0, 255]


def test_a_nifti_file_is_read_in_canonical_orientation(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(head().transpose(2, 1, 0), AFFINE)  # type: ignore[no-untyped-call]
    nibabel.save(image, tmp_path / "head.nii.gz")
    volume = volume_in(tmp_path / "head.nii.gz")
    assert (volume.values == head()).all()
    assert volume.spacing_mm == pytest.approx((4.0, 3.0, 2.0))


@pytest.mark.parametrize(("unit", "length"), [("mm", 1), ("micron", 1000), ("meter", 0.001), ("unknown", 1)])
def test_voxels_are_measured_in_millimetres_whatever_unit_a_file_counts_in(
    tmp_path: Path, unit: str, length: float
) -> None:
    image = nibabel.Nifti1Image(head().transpose(2, 1, 0), AFFINE * [length, length, length, 1])  # type: ignore[no-untyped-call]
    image.header.set_xyzt_units(unit)  # type: ignore[no-untyped-call]
    nibabel.save(image, tmp_path / "head.nii.gz")
    volume = volume_in(tmp_path / "head.nii.gz")
    assert (volume.values == head()).all()
    assert volume.spacing_mm == pytest.approx((4.0, 3.0, 2.0))


def test_a_fourth_axis_of_one_is_no_fourth_axis(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(head().transpose(2, 1, 0)[..., None], AFFINE)  # type: ignore[no-untyped-call]
    nibabel.save(image, tmp_path / "head.nii")
    assert volume_in(tmp_path / "head.nii").values.shape == (4, 6, 5)


def test_a_series_where_a_volume_is_expected_is_unusable(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(np.zeros((5, 6, 4, 2), np.float32), AFFINE)  # type: ignore[no-untyped-call]
    nibabel.save(image, tmp_path / "fmri.nii")
    with pytest.raises(UnusableFileError, match="4 axes of float32: expected three axes of numbers"):
        volume_in(tmp_path / "fmri.nii")


def test_a_series_takes_no_memory_before_it_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hours of scans, of which one volume is asked for."""
    image = nibabel.Nifti1Image(np.zeros((5, 6, 4, 2), np.float32), AFFINE)  # type: ignore[no-untyped-call]
    nibabel.save(image, tmp_path / "fmri.nii.gz")

    def read(*_: object, **__: object) -> None:
        raise AssertionError("read")

    monkeypatch.setattr(nibabel.arrayproxy.ArrayProxy, "__array__", read)
    with pytest.raises(UnusableFileError, match="4 axes of float32"):
        volume_in(tmp_path / "fmri.nii.gz")


def test_a_nifti_file_without_an_affine_is_unusable(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(head(), None)  # type: ignore[no-untyped-call]
    image.header["sform_code"] = image.header["qform_code"] = 0
    nibabel.save(image, tmp_path / "bare.nii")
    with pytest.raises(UnusableFileError, match="it has no affine"):
        volume_in(tmp_path / "bare.nii")


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_a_header_that_makes_up_voxels_is_unusable_before_it_takes_memory(tmp_path: Path, name: str) -> None:
    image = nibabel.Nifti1Image(np.ones((4, 4, 4), dtype=np.int16), np.eye(4))  # type: ignore[no-untyped-call]
    nibabel.save(image, tmp_path / "small.nii")
    content = bytearray((tmp_path / "small.nii").read_bytes())
    content[42:48] = np.array([30_000] * 3, dtype="<i2").tobytes()
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    with pytest.raises(UnusableFileError, match="cut off"):
        volume_in(tmp_path / name)


@pytest.mark.parametrize("keep", [0, 100, 400])
@pytest.mark.parametrize("name", ["cut.nii", "cut.nii.gz"])
def test_a_damaged_nifti_file_is_unusable(tmp_path: Path, name: str, keep: int) -> None:
    noise = np.random.default_rng(0).normal(size=(8, 8, 8)).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(noise, AFFINE), tmp_path / name)  # type: ignore[no-untyped-call]
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[:keep])
    with pytest.raises(UnusableFileError, match="missing or damaged: expected a NIfTI file"):
        volume_in(tmp_path / name)


def ball_of(*, radius_mm: float, spacing_mm: tuple[float, float, float], shape: tuple[int, int, int]) -> Volume:
    places = [(np.arange(n) - (n - 1) / 2) * s for n, s in zip(shape, spacing_mm, strict=True)]
    squares = sum(axis**2 for axis in np.meshgrid(*places, indexing="ij"))
    return Volume((squares < radius_mm**2).astype(np.float32), spacing_mm)
