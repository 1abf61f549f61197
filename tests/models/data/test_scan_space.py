"""What is found on the study's grid lies over the scan where it was found."""

from itertools import permutations
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedward_core.arrays import Array
from fedward_core.cards import DataKind
from fedward_core.spec import Dataset
from fedward_models.data.reading.decoding import read_scan
from fedward_models.data.reading.scans import scan_of
from fedward_models.data.reading.voxels import Scan, back_in_scan, canonical, on_grid


def study(**values: object) -> Dataset:
    return Dataset.model_validate({"name": "x", "kind": DataKind.VOLUME, "depth": 24, "image_px": 24, **values})


def tilted(*, order: tuple[int, ...], degrees: float, spacing_mm: tuple[float, ...], flips: tuple[bool, ...]) -> Array:
    """An affine whose axes are permuted, reversed, of different lengths, and tilted around two directions."""
    angle = np.deg2rad(degrees)
    around_right = [[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]]
    around_head = [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
    signs = [-1 if flipped else 1 for flipped in flips]
    affine = np.eye(4)
    affine[:3, :3] = (
        np.array(around_right) @ around_head @ np.eye(3)[:, list(order)] @ np.diag(np.multiply(signs, spacing_mm))
    )
    affine[:3, 3] = (31.0, -17.0, 52.0)
    return affine


def blob(affine: Array, shape: tuple[int, ...], centre_mm: Array) -> Array:
    """A bright ball, 12 mm wide, around a place in the world."""
    indices = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    places = indices @ affine[:3, :3].T + affine[:3, 3]
    return np.asarray(np.exp(-((places - centre_mm) ** 2).sum(axis=-1) / (2 * 6.0**2)), dtype=np.float32)


def centre_of(values: Array, affine: Array) -> Array:
    """The centre of mass, in millimetres of the world."""
    indices = np.stack(np.meshgrid(*map(np.arange, values.shape), indexing="ij"), axis=-1)
    mean = (indices * values[..., None]).sum(axis=(0, 1, 2)) / values.sum()
    return np.asarray(affine[:3, :3] @ mean + affine[:3, 3])


@settings(max_examples=25, deadline=None)
@given(
    order=st.sampled_from(list(permutations(range(3)))),
    flips=st.tuples(st.booleans(), st.booleans(), st.booleans()),
    degrees=st.floats(-30, 30),
    spacing_mm=st.tuples(*[st.floats(1.5, 4)] * 3),
    resampled=st.booleans(),
    place=st.tuples(*[st.floats(0.35, 0.65)] * 3),
)
def test_a_blob_is_where_it_was_in_the_world(  # noqa: PLR0917 - what hypothesis draws
    order: tuple[int, ...],
    flips: tuple[bool, ...],
    degrees: float,
    spacing_mm: tuple[float, ...],
    resampled: bool,
    place: tuple[float, ...],
) -> None:
    """The map is what the study sees of the scan, so its centre must be the centre of what is in the scan."""
    affine = tilted(order=order, degrees=degrees, spacing_mm=spacing_mm, flips=flips)
    shape = tuple(round(84 / length) for length in spacing_mm)
    centre_mm = affine[:3, :3] @ (np.multiply(place, shape)) + affine[:3, 3]
    scan = Scan(values=blob(affine, shape, centre_mm), affine=affine)
    dataset = study(window=(0, 1), **({"spacing_mm": (4.0, 4.0, 4.0)} if resampled else {}))
    seen = on_grid(canonical(scan.values, scan.affine), dataset).pixels
    found = back_in_scan(seen, scan, dataset)
    assert found.shape == shape
    assert np.linalg.norm(centre_of(found, affine) - centre_of(scan.values, affine)) < 0.5


def test_where_the_study_does_not_look_the_map_is_empty() -> None:
    affine = np.diag([1.0, 1.0, 1.0, 1.0])
    scan = Scan(values=np.zeros((40, 40, 40), np.float32), affine=affine)
    found = back_in_scan(np.ones((24, 24, 24)), scan, study(spacing_mm=(1.0, 1.0, 1.0)))
    assert found[8:32, 8:32, 8:32].min() == 1
    assert found.sum() == 24**3


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    """Three files of which the first is damaged."""
    (folder := tmp_path / "data" / "north").mkdir(parents=True)
    affine = tilted(order=(2, 0, 1), degrees=20, spacing_mm=(3.0, 2.0, 4.0), flips=(True, False, False))
    (folder / "damaged.nii.gz").write_bytes(b"no scan")
    for name, centre in (("first", (10, 12, 9)), ("second", (14, 16, 11))):
        values = blob(affine, (20, 30, 24), affine[:3, :3] @ centre + affine[:3, 3])
        kind: Any = nibabel.Nifti1Image
        nibabel.save(kind(values, affine), folder / f"{name}.nii.gz")
    (folder / "labels.csv").write_text("file,label\ndamaged.nii.gz,a\nfirst.nii.gz,a\nsecond.nii.gz,b\n")
    return tmp_path / "data"


def test_an_examples_scan_is_found_again_though_others_were_skipped(listed: Path) -> None:
    for index, name in enumerate(("first", "second")):
        found, expected = scan_of(listed, "north", study(), index), read_scan(listed / "north" / f"{name}.nii.gz")
        assert found is not None
        np.testing.assert_array_equal(found.values, expected.values)
        np.testing.assert_array_equal(found.affine, expected.affine)


def test_arrays_have_no_scan(tmp_path: Path) -> None:
    np.savez(tmp_path / "north.npz", volumes=np.zeros((2, 24, 24, 24), np.uint8))
    assert scan_of(tmp_path, "north", study(), 0) is None
