"""Which reader takes a listed file, by the study's kind of data."""

from pathlib import Path
from typing import Any

import numpy as np

from fedward_core.cards import DataKind
from fedward_core.spec import Dataset
from fedward_models.data.reading import dicom_file, video
from fedward_models.data.reading.dicom_series import read_dicom_axes, read_dicom_scan
from fedward_models.data.reading.found import Decoded, UnusableFileError
from fedward_models.data.reading.nifti import is_nifti, read_nifti_scan
from fedward_models.data.reading.pixels import decode, resize_array
from fedward_models.data.reading.voxels import Scan, canonical, contrast_of, on_grid, to_levels


def grid_of(dataset: Dataset) -> tuple[int, ...]:
    """The shape of one example without its channels: (px, px), (D, px, px) or (T, px, px)."""
    deep = {DataKind.VOLUME: dataset.depth, DataKind.CLIP: dataset.frames}.get(dataset.kind)
    return (dataset.image_px, dataset.image_px) if deep is None else (deep, dataset.image_px, dataset.image_px)


def decode_file(path: Path, dataset: Dataset) -> Decoded:
    """Read a file, or a folder of slices, onto the study's grid.

    Raises:
        UnusableFileError: It cannot be used in this study.
        MemoryError: It does not fit the memory, which is no fault of the file's.
    """
    readers = {DataKind.VOLUME: _volume, DataKind.CLIP: _clip}
    try:
        return readers.get(dataset.kind, _image)(path, dataset)
    except (UnusableFileError, MemoryError):
        raise
    except Exception as error:  # scanners write headers that break the standard in any way; the other files stand
        raise UnusableFileError(
            f"damaged, or not as its format says ({type(error).__name__}): export it again"
        ) from error


def read_scan(path: Path) -> Scan:
    """Read a volume as its file, or its folder of slices, has it.

    Raises:
        UnusableFileError: It is no volume.
    """
    if path.is_dir():
        return read_dicom_scan(path)
    if is_nifti(path):
        return read_nifti_scan(path)
    raise UnusableFileError(
        "no volume: expected a .nii or .nii.gz file, or the folder of a DICOM series, a file a slice"
    )


def orientation_of(path: Path) -> str:
    """Where the axes of a scan point in its file, e.g. ``RAS`` for right, front (anterior) and head (superior)."""
    from nibabel import load, orientations  # noqa: PLC0415 - slow to import

    image: Any = None if path.is_dir() else load(path)
    affine = read_dicom_axes(path) if image is None else image.affine
    return "".join(orientations.aff2axcodes(affine))  # type: ignore[no-untyped-call]


def _image(path: Path, dataset: Dataset) -> Decoded:
    if dicom_file.is_dicom(path):
        frames = dicom_file.read_dicom_frames(path, dataset.window)
        if len(frames) > 1:
            raise UnusableFileError(f"{len(frames)} frames: expected one image; use kind: clip for cine series")
        pixels = resize_array(frames[0], dataset.image_px, keep_proportions=dataset.keep_proportions)
        return Decoded(pixels=pixels, size=frames.shape[1:3])
    if dataset.window is not None:
        raise UnusableFileError("an 8-bit file, where dataset.window has no effect: leave it out, or list DICOM files")
    image = np.asarray(decode(path))
    pixels = resize_array(image, dataset.image_px, keep_proportions=dataset.keep_proportions)
    return Decoded(pixels=pixels, size=image.shape[:2])


def _volume(path: Path, dataset: Dataset) -> Decoded:
    return on_grid(canonical(*read_scan(path)), dataset)


def _clip(path: Path, dataset: Dataset) -> Decoded:
    if path.is_dir() or is_nifti(path):
        return _slices(path, dataset)
    if dicom_file.is_dicom(path):
        frames = dicom_file.read_dicom_frames(path, dataset.window)
        chosen = video.middle(len(frames), dataset)
        return video.clip_of(frames[np.array(chosen)], dataset)
    if dataset.window is not None:
        raise UnusableFileError("an 8-bit video, where dataset.window has no effect: leave it out, or list DICOM files")
    return video.read_video(path, dataset)


def _slices(path: Path, dataset: Dataset) -> Decoded:
    """A scan as a clip: its slices, from feet to head, are the frames."""
    values = canonical(*read_scan(path)).values
    chosen = np.array(video.middle(len(values), dataset))
    levels = to_levels(values, dataset.window or contrast_of(values))
    return video.clip_of(np.rint(levels[chosen]).astype(np.uint8), dataset)
