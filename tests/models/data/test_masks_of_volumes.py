"""Masks of volumes: from a file on the grid of its scan to the study's grid, and back."""

from itertools import permutations
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedward_core.arrays import Array
from fedward_core.cards import DataKind, Task
from fedward_core.errors import DataError
from fedward_core.spec import Dataset
from fedward_models.data.reading.voxels import Scan, Volume, canonical, mask_in_scan, mask_on_grid
from fedward_models.data.site_data import SiteData, read_site

SHAPE = (6, 8, 10)


def study(**values: Any) -> Dataset:
    form = {"name": "x", "kind": DataKind.VOLUME, "task": Task.SEGMENTATION, "depth": 6, "image_px": 8}
    return Dataset.model_validate({**form, **values})


def save(path: Path, values: Array, affine: Array) -> None:
    image: Any = nibabel.Nifti1Image
    nibabel.save(image(values, affine), path)


def scan_and_mask() -> tuple[Array, Array]:
    rng = np.random.default_rng(0)
    return rng.random(SHAPE).astype(np.float32), rng.integers(0, 3, SHAPE).astype(np.uint8)


def site_of(folder: Path, mask: Array, mask_affine: Array, **values: Any) -> SiteData:
    """A site with two patients, each with the same scan; the second one's mask is always right."""
    scan, right = scan_and_mask()
    (folder / "north").mkdir(parents=True)
    for name, array, affine in (
        ("a", scan, np.eye(4)),
        ("b", scan, np.eye(4)),
        ("a-mask", mask, mask_affine),
        ("b-mask", right, np.eye(4)),
    ):
        save(folder / "north" / f"{name}.nii.gz", array, affine)
    rows = ["file,mask,split", "a.nii.gz,a-mask.nii.gz,train", "b.nii.gz,b-mask.nii.gz,test"]
    (folder / "north" / "labels.csv").write_text("\n".join(rows))
    return read_site(folder, "north", study(depth=10, image_px=8, **values))


def test_a_mask_follows_its_scan_whatever_the_axes_of_its_own_file(tmp_path: Path) -> None:
    _, mask = scan_and_mask()
    turned: Any = nibabel.Nifti1Image
    stored = nibabel.as_closest_canonical(turned(mask, np.eye(4)))  # type: ignore[no-untyped-call]
    flipped = stored.as_reoriented(np.array([[2, -1], [0, 1], [1, -1]]))
    same = site_of(tmp_path / "same", mask, np.eye(4)).labels
    other = site_of(tmp_path / "other", np.asarray(flipped.dataobj), flipped.affine).labels
    assert same is not None
    assert other is not None
    assert same.shape == (2, 10, 8, 8)
    np.testing.assert_array_equal(same, other)
    np.testing.assert_array_equal(same[0], same[1])
    assert set(np.unique(same)) == {0, 1, 2}


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.zeros((6, 8, 9), np.uint8), "mask: 9 x 8 x 6 voxels, expected the 10 x 8 x 6 of its volume"),
        (np.full(SHAPE, 0.5, np.float32), "mask: expected class numbers, whole and below 256"),
        (np.full(SHAPE, 300, np.int16), "mask: expected class numbers, whole and below 256"),
        (np.full(SHAPE, -1, np.int16), "mask: expected class numbers, whole and below 256"),
        (np.full(SHAPE, np.nan, np.float32), "mask: expected class numbers, whole and below 256"),
    ],
    ids=["shape", "fractions", "too large", "negative", "no number"],
)
def test_a_mask_of_another_shape_or_without_class_numbers_makes_its_volume_unusable(
    mask: Array, message: str, tmp_path: Path
) -> None:
    site = site_of(tmp_path, mask, np.eye(4))
    assert [bad.name for bad in site.bad] == ["a.nii.gz"]
    assert message in site.bad[0].reason


def moved(right: float, front: float, up: float) -> Array:
    affine = np.eye(4)
    affine[:3, 3] = right, front, up
    return affine


TURNED = np.array([[0.8, -0.6, 0, 0], [0.6, 0.8, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])


@pytest.mark.parametrize(
    ("affine", "apart"),
    [
        (np.diag([2.0, 1.0, 1.0, 1.0]), "5.0 voxels"),
        (moved(0, 0, 3), "3.0 voxels"),
        (moved(0.6, 0, 0), "0.6 voxels"),
        (TURNED, "5.2 voxels"),
    ],
    ids=["larger voxels", "other slices", "more than half a voxel", "turned"],
)
def test_a_mask_that_lies_elsewhere_makes_its_volume_unusable(affine: Array, apart: str, tmp_path: Path) -> None:
    site = site_of(tmp_path, scan_and_mask()[1], affine)
    assert [bad.name for bad in site.bad] == ["a.nii.gz"]
    assert site.bad[0].reason.startswith(f"mask: {apart} from where its volume lies")


def test_a_header_that_rounds_is_no_other_place(tmp_path: Path) -> None:
    assert not site_of(tmp_path, scan_and_mask()[1], moved(0.2, 0, 0)).bad


def test_a_tool_that_counts_voxels_from_their_corners_means_the_same_place(tmp_path: Path) -> None:
    assert not site_of(tmp_path, scan_and_mask()[1], moved(0.5, 0.5, 0.5)).bad


def test_masks_of_arrays_are_resampled_with_their_volumes(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    volumes = rng.integers(0, 255, (4, 6, 8, 8)).astype(np.uint8)
    masks = (volumes > 127).astype(np.uint8)
    splits = np.array(["train", "train", "val", "test"])
    np.savez(tmp_path / "north.npz", volumes=volumes, masks=masks, split=splits, spacing_mm=np.array([2.0, 1, 1]))
    whole = read_site(tmp_path, "north", study()).labels
    assert whole is not None
    np.testing.assert_array_equal(whole, masks)
    fine = read_site(tmp_path, "north", study(depth=12, spacing_mm=(1.0, 1.0, 1.0))).labels
    assert fine is not None
    np.testing.assert_array_equal(fine, np.repeat(masks, 2, axis=1))


def test_masks_of_other_volumes_are_refused(tmp_path: Path) -> None:
    volumes = np.zeros((4, 6, 8, 8), np.uint8)
    np.savez(tmp_path / "north.npz", volumes=volumes, masks=volumes[:, :5])
    with pytest.raises(DataError, match=r"masks have shape \(4, 5, 8, 8\), expected that of the volumes"):
        read_site(tmp_path, "north", study())


@pytest.mark.parametrize("masked", ["images", "volumes"])
def test_a_file_with_images_and_volumes_has_masks_of_one_of_them(masked: str, tmp_path: Path) -> None:
    arrays = {"images": np.zeros((4, 8, 8), np.uint8), "volumes": np.zeros((4, 6, 8, 8), np.uint8)}
    np.savez(tmp_path / "north.npz", images=arrays["images"], volumes=arrays["volumes"], masks=arrays[masked])
    films = Dataset.model_validate({"name": "x", "task": Task.SEGMENTATION, "image_px": 8})
    other = study() if masked == "images" else films
    with pytest.raises(DataError, match=rf"masks have shape .*, which is not that of kind '{other.kind}'"):
        read_site(tmp_path, "north", other)


def test_nothing_is_class_0_where_a_volume_does_not_reach() -> None:
    mask = Volume(values=np.ones((4, 4, 4), np.uint8), spacing_mm=(1.0, 1.0, 1.0))
    found = mask_on_grid(mask, study(depth=8, image_px=8, spacing_mm=(1.0, 1.0, 1.0)))
    expected = np.zeros((8, 8, 8), np.uint8)
    expected[2:6, 2:6, 2:6] = 1
    np.testing.assert_array_equal(found, expected)


@settings(max_examples=25, deadline=None)
@given(
    order=st.sampled_from(list(permutations(range(3)))),
    flips=st.tuples(st.booleans(), st.booleans(), st.booleans()),
    factor=st.integers(1, 3),
)
def test_a_mask_comes_back_to_the_voxels_of_its_scan(
    order: tuple[int, ...], flips: tuple[bool, ...], factor: int
) -> None:
    """Wherever the scanner's axes point, on a grid that is as fine or some times finer."""
    signs = [-1 if flipped else 1 for flipped in flips]
    affine = np.eye(4)
    affine[:3, :3] = np.eye(3)[:, list(order)] @ np.diag(signs)
    stored = np.random.default_rng(0).integers(0, 4, (6, 6, 6)).astype(np.uint8)
    dataset = study(depth=6 * factor, image_px=6 * factor if factor > 1 else 8, spacing_mm=(1 / factor,) * 3)
    there = mask_on_grid(canonical(stored, affine), dataset)
    back = mask_in_scan(there, Scan(values=stored, affine=affine), dataset)
    np.testing.assert_array_equal(back, stored)
    assert back.dtype == np.uint8
