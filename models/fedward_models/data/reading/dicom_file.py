"""DICOM files one by one: single images, and cine series in one file.

Values pass the file's own rescaling (modality LUT) first. Black and white are the study's window, else the file's own
(VOI LUT or window), else its 0.5th and 99.5th percentile. MONOCHROME1 is inverted, so that bright means dense
everywhere. Enhanced files say all this of each frame: each is rescaled by its own, and shown as the first one asks.
"""

import struct
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fedward_core.arrays import Array
from fedward_models.data.reading.dicom_values import of_frame, rescaled, stored_pixels
from fedward_models.data.reading.found import UnusableFileError
from fedward_models.data.reading.voxels import contrast_of, to_levels

if TYPE_CHECKING:
    from pydicom import Dataset as Header

GREY = frozenset({"MONOCHROME1", "MONOCHROME2"})
COLOUR = frozenset({"RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT", "PALETTE COLOR"})
SUFFIXES = frozenset({".dcm", ".dicom", ".ima"})
INDEX = "DICOMDIR"


def is_dicom(path: Path) -> bool:
    """Whether a file calls itself DICOM, by its ending or by its first bytes; one that cannot be opened does not.

    Many are named by a UID, of which the last number looks like an ending. The index of a disk is no image.
    """
    if path.name.upper() == INDEX:
        return False
    if path.suffix.lower() in SUFFIXES:
        return True
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def dicom_files(folder: Path) -> list[Path]:
    """The DICOM files in a folder, by name; what a system hides beside them, e.g. ``._1.dcm`` of a Mac, is none."""
    return [
        path for path in sorted(folder.iterdir()) if path.is_file() and not path.name.startswith(".") and is_dicom(path)
    ]


def read_dicom_frames(path: Path, window: tuple[float, float] | None) -> Array:
    """Read the frames of a file, one for a single image.

    Args:
        path: The file.
        window: The values of black and white, in the file's rescaled units; None to take the file's own.

    Returns:
        (T, H, W) or (T, H, W, 3), uint8, as the file says it is looked at: the patient's right on the left, head up.

    Raises:
        UnusableFileError: The file is missing, damaged or no DICOM, or its pixels cannot be decoded or shown.
    """
    header = read_header(path)
    frames = stored_pixels(header)
    grey = header.PhotometricInterpretation in GREY
    frames = frames[None] if frames.ndim == (2 if grey else 3) else frames  # there may be more than the header says
    shown = _grey(frames, header, window) if grey else _colour(frames, header, window)
    return _upright(shown, header)


def turned_as_shown(stored: Array, path: Path) -> Array:
    """Turn what was drawn over a file's stored pixels as these are turned by :func:`read_dicom_frames`.

    Args:
        stored: (T, H, W), e.g. a mask of the one frame.
        path: The file.

    Raises:
        UnusableFileError: The file is missing, damaged or no DICOM.
    """
    return _upright(stored, _dataset_at(path, stop_before_pixels=True, specific_tags=["PatientOrientation"]))


def patient_of(path: Path) -> str:
    """The patient's number in a file; empty where there is none, or where it is no DICOM file. It stays at the site."""
    try:
        return str(_dataset_at(path, stop_before_pixels=True, specific_tags=["PatientID"]).get("PatientID", ""))
    except UnusableFileError:
        return ""


def has_frames(path: Path) -> bool:
    """Whether a file says that it holds several frames; one that cannot be read does not."""
    try:
        return num_frames(_dataset_at(path, stop_before_pixels=True, specific_tags=["NumberOfFrames"])) > 1
    except ValueError:  # of a header that breaks the standard too
        return False


def read_header(path: Path) -> "Header":
    """Read a file that shows something.

    Raises:
        UnusableFileError: The file is missing, damaged or no DICOM, or has no pixels of a known kind.
    """
    header = _dataset_at(path)
    if "PixelData" not in header:
        raise UnusableFileError("it has no pixel data: expected an image, not a report or a plan")
    if header.get("PhotometricInterpretation") not in GREY | COLOUR:
        raise UnusableFileError("its photometric interpretation is not known: expected grey, RGB, YBR or a palette")
    return header


def num_frames(header: "Header") -> int:
    """How many frames the file holds."""
    return int(header.get("NumberOfFrames", None) or 1)


def _dataset_at(path: Path, **wanted: Any) -> "Header":
    import pydicom  # noqa: PLC0415 - slow to import

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of values that break the standard; what is used is checked by its user
            return pydicom.dcmread(path, **wanted)
    except (pydicom.errors.InvalidDicomError, OSError, EOFError, ValueError, KeyError, struct.error) as error:
        raise UnusableFileError("missing or damaged: expected a DICOM file") from error


def _grey(frames: Array, header: "Header", window: tuple[float, float] | None) -> Array:
    headers = [of_frame(header, index) for index in range(len(frames))]
    values = np.stack([rescaled(frame, own) for frame, own in zip(frames, headers, strict=True)])
    if window is None:
        values, window = _own_window(values, headers[0])
    levels = to_levels(values, window)
    if header.PhotometricInterpretation == "MONOCHROME1":
        levels = np.where(np.isnan(values), 0, 255 - levels)
    return np.rint(levels).astype(np.uint8)


def _own_window(values: Array, header: "Header") -> tuple[Array, tuple[float, float]]:
    """Values and the window that the file asks for (DICOM PS3.3, C.11.2).

    Differs: a window of the function SIGMOID is shown as the line of its centre and width.
    """
    from pydicom.pixels.processing import apply_voi_lut  # noqa: PLC0415 - slow to import

    if header.get("VOILUTSequence"):
        bits = int(header.VOILUTSequence[0].LUTDescriptor[2])
        looked_up = np.asarray(apply_voi_lut(np.nan_to_num(values).astype(np.int32), header), dtype=np.float32)
        return np.where(np.isnan(values), np.nan, looked_up), (0.0, 2.0**bits - 1)
    centre, width = first_number(header.get("WindowCenter")), first_number(header.get("WindowWidth"))
    if centre is None or width is None:
        return values, contrast_of(values)
    if width < 1:
        raise UnusableFileError(f"its window is {width:g} wide: expected at least 1; set dataset.window")
    if (header.get("VOILUTFunction") or "LINEAR") == "LINEAR" and width > 1:
        return values, (centre - 0.5 - (width - 1) / 2, centre - 0.5 + (width - 1) / 2)
    return values, (centre - width / 2, centre + width / 2)


def first_number(value: Any) -> float | None:
    """The first of one or several numbers in a header; None where there is none."""
    if value is None or value == "":
        return None
    return float(value if isinstance(value, int | float | str) else value[0])


def _colour(frames: Array, header: "Header", window: tuple[float, float] | None) -> Array:
    if window is not None:
        raise UnusableFileError("it is in colour, where a window means nothing: leave dataset.window out")
    bits = _bits_of_palette(frames) if header.PhotometricInterpretation == "PALETTE COLOR" else int(header.BitsStored)
    return frames.astype(np.uint8) if bits <= 8 else (frames >> (bits - 8)).astype(np.uint8)


def _bits_of_palette(frames: Array) -> int:
    """Some devices fill a palette of 16 bits with levels up to 255, which would all be black."""
    return 8 if frames.max() < 256 else 16


def _upright(frames: Array, header: "Header") -> Array:
    """Mirror what is stored from the patient's left to the right, or from feet to head."""
    across, down = [*map(str, header.get("PatientOrientation") or ()), "", ""][:2]
    if across.startswith("R"):
        frames = frames[:, :, ::-1]
    if down.startswith("H"):
        frames = frames[:, ::-1]
    return np.ascontiguousarray(frames)
