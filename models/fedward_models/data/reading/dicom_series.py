"""Series of DICOM slices in a folder, as CT and MR scanners write them.

No window is taken from the files, because in MR it differs from slice to slice. Values keep their units, which
MONOCHROME1 does not invert. Slices of a tilted gantry are stacked
as they are: what they are shifted against each other is not taken out.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fedward_core.arrays import Array
from fedward_models.data.reading.dicom_file import (
    GREY,
    dicom_files,
    first_number,
    num_frames,
    read_header,
)
from fedward_models.data.reading.dicom_values import rescaled, stored_pixels
from fedward_models.data.reading.found import UnusableFileError
from fedward_models.data.reading.voxels import Scan

if TYPE_CHECKING:
    from pydicom import Dataset as Header

SAME_DIRECTION = 1e-3
SAME_PLACE_MM = 1e-3
UNEVEN = 0.1  # of the distance between slices; decided here, above the rounding of positions in files


def read_dicom_scan(folder: Path) -> Scan:
    """Read the slices of one series as they are, in whatever order the files lie.

    The axes are columns, rows and slices, these in the direction of their normal.

    Raises:
        UnusableFileError: There are no DICOM files, or slices that do not make one even volume.
    """
    headers = [read_header(path) for path in dicom_files(folder)]
    if not headers:
        raise UnusableFileError("the folder holds no DICOM file: expected the slices of one series")
    _refuse_mixtures(headers)
    rows, columns = _directions(headers[0])
    normal = np.cross(rows, columns)
    places = np.array([np.dot(header.ImagePositionPatient, normal) for header in headers])
    order = np.argsort(places)
    spacing = (_distance(places[order], headers[0]), *map(float, headers[0].PixelSpacing))
    values = np.stack([rescaled(stored_pixels(headers[index]), headers[index]) for index in order])
    # The affine's columns are steps along (W, H, D); DICOM counts to the left and the back, NIfTI the other way.
    steps = np.stack([rows * spacing[2], columns * spacing[1], normal * spacing[0]], axis=1)
    affine = np.eye(4)
    affine[:3, :3] = np.diag([-1, -1, 1]) @ steps
    affine[:3, 3] = np.diag([-1, -1, 1]) @ np.array(headers[order[0]].ImagePositionPatient, dtype=float)
    return Scan(values=values.transpose(2, 1, 0), affine=affine)


def read_dicom_axes(folder: Path) -> Array:
    """The affine of a series but for lengths and place, (4, 4), by its first slice's header alone."""
    rows, columns = _directions(read_header(dicom_files(folder)[0]))
    affine = np.eye(4)
    affine[:3, :3] = np.diag([-1, -1, 1]) @ np.stack([rows, columns, np.cross(rows, columns)], axis=1)
    return affine


def _refuse_mixtures(headers: "list[Header]") -> None:
    series = {header.get("SeriesInstanceUID") for header in headers}
    if len(series) > 1:
        raise UnusableFileError(f"{len(series)} series in one folder: expected one, in a folder of its own")
    if any(num_frames(header) > 1 for header in headers):
        raise UnusableFileError(
            "several frames in one file (enhanced DICOM): convert it to NIfTI, or to a file a slice"
        )
    for header in headers:
        if any(key not in header for key in ("ImageOrientationPatient", "ImagePositionPatient", "PixelSpacing")):
            raise UnusableFileError("a slice lacks its place, orientation or pixel size: expected a series of slices")
        if header.PhotometricInterpretation not in GREY:
            raise UnusableFileError("slices in colour: expected one grey image in each file")
    if len({(header.Rows, header.Columns) for header in headers}) > 1:
        raise UnusableFileError("slices of different sizes: expected one grid")
    if len({tuple(map(float, header.PixelSpacing)) for header in headers}) > 1:
        raise UnusableFileError("mixed spacings: slices differ in the size of their pixels")
    turns = np.array([header.ImageOrientationPatient for header in headers], dtype=float)
    if np.abs(turns - turns[0]).max() > SAME_DIRECTION:
        raise UnusableFileError("mixed orientation: slices are not parallel; a localiser may lie among them")


def _directions(header: "Header") -> tuple[Array, Array]:
    turn = np.array(header.ImageOrientationPatient, dtype=float)
    return turn[:3], turn[3:]


def _distance(places: Array, header: "Header") -> float:
    """The distance between slices, which must be even."""
    if len(places) == 1:
        thickness = first_number(header.get("SliceThickness"))
        if not thickness:
            raise UnusableFileError("one slice without a thickness: expected a series of slices")
        return thickness
    gaps = np.diff(places)
    if gaps.min() < SAME_PLACE_MM:
        raise UnusableFileError("two slices at one place: expected one volume, each slice once, not phases or echoes")
    if gaps.max() - gaps.min() > UNEVEN * np.median(gaps):
        raise UnusableFileError("mixed spacings: slices lie unevenly, some may be missing")
    return float(np.mean(gaps))
