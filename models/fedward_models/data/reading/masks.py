"""Masks beside listed files: class numbers of the pixels of an image, or of the voxels of a volume."""

from itertools import product
from pathlib import Path

import numpy as np

from fedward_core.arrays import Array
from fedward_core.cards import DataKind
from fedward_core.spec import Dataset
from fedward_models.data.reading.decoding import read_scan
from fedward_models.data.reading.dicom_file import is_dicom, turned_as_shown
from fedward_models.data.reading.found import Decoded, UnusableFileError
from fedward_models.data.reading.pixels import decode_mask, resize_mask
from fedward_models.data.reading.voxels import Volume, canonical, mask_on_grid

MOST_CLASSES = 256
SAME_PLACE = 0.5  # decided here: of a voxel along each axis; tools count from corners or from middles
_ROUNDING = 0.01  # of a voxel: headers round
_MENDED = "write it on the grid of the scan"


def read_mask(path: Path, image: Path, decoded: Decoded, dataset: Dataset) -> Array:
    """Read a mask onto the study's grid, turned as what it lies on is turned.

    Args:
        path: A PNG for an image, a NIfTI file for a volume.
        image: The file of the image or volume.
        decoded: What that file holds.
        dataset: The study.

    Returns:
        (px, px) or (D, px, px), uint8 class numbers.

    Raises:
        UnusableFileError: It is missing or damaged, lies on other pixels or voxels, or holds no class numbers.
    """
    if dataset.kind is DataKind.VOLUME:
        return mask_on_grid(_of_volume(path, decoded), dataset)
    height, width = decoded.size
    mask = decode_mask(path, (height, width))
    upright = turned_as_shown(mask[None], image)[0] if is_dicom(image) else mask
    return resize_mask(upright, dataset.image_px, keep_proportions=dataset.keep_proportions)


def _of_volume(path: Path, decoded: Decoded) -> Volume:
    """Both are brought into canonical orientation, each from its own file's."""
    try:
        mask = canonical(*read_scan(path))
    except UnusableFileError as error:
        raise UnusableFileError(f"mask: {error}") from None
    if mask.values.shape != decoded.size:
        raise UnusableFileError(
            f"mask: {_told(mask.values.shape)} voxels, expected the {_told(decoded.size)} of its volume: {_MENDED}"
        )
    apart = _apart(mask, decoded)
    if apart > SAME_PLACE + _ROUNDING:
        raise UnusableFileError(
            f"mask: {apart:.1f} voxels from where its volume lies, or turned, or of other voxels: {_MENDED}"
        )
    values = mask.values
    if not ((values >= 0) & (values < MOST_CLASSES) & (values == np.floor(values))).all():
        raise UnusableFileError(f"mask: expected class numbers, whole and below {MOST_CLASSES}")
    return Volume(values=values.astype(np.uint8), spacing_mm=mask.spacing_mm)


def _apart(mask: Volume, decoded: Decoded) -> float:
    """How far corners of the two lie apart at most, along one axis, in voxels of the volume."""
    assert mask.affine is not None
    assert decoded.affine is not None
    last = np.array(decoded.size) - 1
    corners = np.array([(*(last * corner), 1) for corner in product((0, 1), repeat=3)])
    difference = np.linalg.pinv(decoded.affine) @ (mask.affine - decoded.affine)
    return float(np.abs(corners @ difference.T).max())


def _told(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
