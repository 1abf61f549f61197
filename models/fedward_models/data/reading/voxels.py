"""From the voxels of a scanner to the study's grid: orientation, size and intensities.

A volume has slices from feet to head, rows from front to back and columns from the patient's right to the left, as
slices are shown on screens (LPS). Oblique volumes keep their own axes, named by the nearest of these.

Letters: D slices, H rows, W columns.
"""

from typing import NamedTuple

import numpy as np

from fedward_core.arrays import Array
from fedward_core.spec import Dataset
from fedward_models.data.reading.found import Decoded, UnusableFileError

LPS = np.array([[0, -1], [1, -1], [2, 1]])  # each axis and its direction, as nibabel counts from right, back and foot
PERCENTILES = (0.5, 99.5)  # decided here: what lies beyond is metal, noise or vessels


class Scan(NamedTuple):
    """A volume as its file has it.

    Attributes:
        values: Voxels along three axes, in the file's own order and units.
        affine: (4, 4), from indices to millimetres towards right, front and head (RAS, as in NIfTI).
    """

    values: Array
    affine: Array


class Volume(NamedTuple):
    """A volume in canonical orientation.

    Attributes:
        values: (D, H, W), float32, in the file's own units.
        spacing_mm: Depth, height and width of a voxel; None where not known.
        affine: (4, 4), from slice, row and column to millimetres towards right, front and head; None where not known.
    """

    values: Array
    spacing_mm: tuple[float, ...] | None
    affine: Array | None = None


def canonical(values: Array, affine: Array) -> Volume:
    """Bring a volume into canonical orientation.

    Args:
        values: Voxels along the three axes that the affine describes.
        affine: (4, 4), from indices to millimetres towards right, front and head (RAS, as in NIfTI).

    Raises:
        UnusableFileError: The affine names no three different directions.
    """
    from nibabel import affines, orientations  # noqa: PLC0415 - slow to import

    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise UnusableFileError("its affine is singular: orientation and voxel size are not known")
    turn = orientations.ornt_transform(orientations.io_orientation(affine), LPS)  # type: ignore[no-untyped-call]
    turned = np.asarray(orientations.apply_orientation(values, turn))  # type: ignore[no-untyped-call]
    back = orientations.inv_ornt_aff(turn, values.shape)  # type: ignore[no-untyped-call]
    placed = (affine @ back)[:, [2, 1, 0, 3]]
    spacing = affines.voxel_sizes(placed)  # type: ignore[no-untyped-call]
    slices = np.ascontiguousarray(turned.transpose(2, 1, 0))
    return Volume(values=slices, spacing_mm=tuple(spacing.tolist()), affine=placed)


def on_grid(volume: Volume, dataset: Dataset) -> Decoded:
    """Window a volume and bring it onto the study's grid.

    Raises:
        UnusableFileError: Every voxel is alike, or the study asks for a spacing and the volume's is not known.
    """
    shape, steps = _grid_over(volume, dataset)
    levels = to_levels(volume.values, dataset.window or contrast_of(volume.values))
    pixels = np.rint(resample(levels, shape, steps)).astype(np.uint8)
    return Decoded(pixels=pixels, size=volume.values.shape, spacing_mm=volume.spacing_mm, affine=volume.affine)


def mask_on_grid(mask: Volume, dataset: Dataset) -> Array:
    """Bring class numbers onto the study's grid, each from the nearest voxel; class 0 where a volume does not reach.

    Args:
        mask: Class numbers, in the voxels of the volume that they are of.
        dataset: The study.

    Returns:
        (D, H, W) on the grid, of the mask's own type.

    Raises:
        UnusableFileError: As of :func:`on_grid`.
    """
    return _nearest(mask.values, *_grid_over(mask, dataset))


def mask_in_scan(mask: Array, scan: Scan, dataset: Dataset) -> Array:
    """Take class numbers on the study's grid back to the voxels of the scan, as :func:`back_in_scan` takes values.

    Args:
        mask: (D, H, W), in canonical orientation.
        scan: What the volume was read from.
        dataset: The study that brought it onto the grid.
    """
    volume = canonical(scan.values, scan.affine)
    _, steps = _grid_over(volume, dataset)
    return _as_stored(_nearest(mask, volume.values.shape, [1 / step for step in steps]), scan)


def back_in_scan(values: Array, scan: Scan, dataset: Dataset) -> Array:
    """Take what was found on the study's grid back to the voxels of the scan: the way of a volume, reversed.

    Args:
        values: (D, H, W), e.g. a map of what a decision came from, in canonical orientation.
        scan: What the volume was read from.
        dataset: The study that brought it onto the grid.

    Returns:
        Of the shape of ``scan.values``, interpolated; 0 where the study's grid does not reach.
    """
    volume = canonical(scan.values, scan.affine)
    _, steps = _grid_over(volume, dataset)
    fine = resample(np.asarray(values, dtype=np.float32), volume.values.shape, [1 / step for step in steps])
    return _as_stored(fine, scan)


def _as_stored(values: Array, scan: Scan) -> Array:
    """(D, H, W) in canonical orientation, along the axes of a scan."""
    from nibabel import orientations  # noqa: PLC0415 - slow to import

    turn = orientations.ornt_transform(LPS, orientations.io_orientation(scan.affine))  # type: ignore[no-untyped-call]
    return np.asarray(orientations.apply_orientation(values.transpose(2, 1, 0), turn))  # type: ignore[no-untyped-call]


def resample(values: Array, shape: tuple[int, ...], steps: list[float]) -> Array:
    """Take values on another grid around the same middle, axis by axis, averaging over what is joined.

    Args:
        values: Any number of axes, float.
        shape: The new length of each axis.
        steps: How far neighbours of the new grid lie apart, in steps of the old one. What lies outside is 0.
    """
    for axis, (length, step) in enumerate(zip(shape, steps, strict=True)):
        weights = _weights(values.shape[axis], length, step)
        values = np.moveaxis(np.tensordot(weights, values, axes=(1, axis)), 0, axis)
    return values


def _grid_over(volume: Volume, dataset: Dataset) -> tuple[tuple[int, ...], list[float]]:
    """The shape of the study's grid, and how far its neighbours lie apart, in voxels of a volume."""
    assert dataset.depth is not None
    shape = (dataset.depth, dataset.image_px, dataset.image_px)
    if dataset.spacing_mm is None:
        return shape, [size / wanted for size, wanted in zip(volume.values.shape, shape, strict=True)]
    if volume.spacing_mm is None:
        raise UnusableFileError("its voxel size is not known: the study resamples to dataset.spacing_mm")
    return shape, [wanted / own for wanted, own in zip(dataset.spacing_mm, volume.spacing_mm, strict=True)]


def contrast_of(values: Array) -> tuple[float, float]:
    """The values to show as black and white: all but the lowest and highest half percent.

    Raises:
        UnusableFileError: Every value is alike, or none is a number.
    """
    numbers = values[np.isfinite(values)] if values.dtype.kind == "f" else values
    if numbers.size:
        low, high = np.percentile(numbers, PERCENTILES)
        if high > low:
            return float(low), float(high)
        low, high = numbers.min(), numbers.max()  # a few voxels in an empty field
        if high > low:
            return float(low), float(high)
    raise UnusableFileError("every value is alike: there is nothing to see")


def to_levels(values: Array, window: tuple[float, float]) -> Array:
    """Values as float32 levels from 0 for black to 255 for white; what is no number is black."""
    low, high = window
    levels = (np.asarray(values, dtype=np.float32) - np.float32(low)) * np.float32(255 / (high - low))
    return np.asarray(np.nan_to_num(levels, nan=0.0, posinf=255.0, neginf=0.0).clip(0, 255))


def _nearest(values: Array, shape: tuple[int, ...], steps: list[float]) -> Array:
    """As :func:`resample`, but each value is that of the nearest place."""
    for axis, (length, step) in enumerate(zip(shape, steps, strict=True)):
        places, inside = _places(values.shape[axis], length, step)
        chosen = np.floor(places + 0.5).astype(int).clip(0, values.shape[axis] - 1)
        values = np.moveaxis(np.where(inside, np.moveaxis(values.take(chosen, axis), axis, -1), 0), -1, axis)
    return values


def _places(old: int, new: int, step: float) -> tuple[Array, Array]:
    """Where each new place lies among the old ones, around the same middle, and whether it lies within them."""
    places = (np.arange(new) - (new - 1) / 2) * step + (old - 1) / 2
    return places, (places >= -0.5) & (places <= old - 0.5)


def _weights(old: int, new: int, step: float) -> Array:
    """(new, old): a triangle around each new place, as wide as the larger step; rows sum to 1, or to 0 outside."""
    places, inside = _places(old, new, step)
    distance = np.abs(places[:, None] - np.arange(old))
    weights = np.clip(1 - distance / max(step, 1.0), 0, None)
    sums = weights.sum(axis=1, keepdims=True)
    return np.asarray(np.where(inside[:, None], weights / np.maximum(sums, 1e-12), 0), dtype=np.float32)
