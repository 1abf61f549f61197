"""NIfTI files, ``.nii`` and ``.nii.gz``."""

import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from fedward_core.arrays import Array
from fedward_models.data.reading.found import UnusableFileError
from fedward_models.data.reading.voxels import Scan, Volume, canonical

MOST_DEFLATED = 1032  # bytes that one byte of a .nii.gz can stand for (zlib, "Technical Details")
MILLIMETRES = {1: 1000.0, 3: 0.001}  # by the code of a header's unit: metres, micrometres; all else is millimetres


def read_nifti(path: Path) -> Volume:
    """Read a volume; errors as of :func:`read_nifti_scan`."""
    return canonical(*read_nifti_scan(path))


def read_nifti_scan(path: Path) -> Scan:
    """Read a volume as the file has it.

    Raises:
        UnusableFileError: The file is missing or damaged, has no three axes, no plain numbers, or no affine.
    """
    import nibabel  # noqa: PLC0415 - slow to import

    try:
        image: Any = nibabel.load(path)
        _refuse_cut_off(image, path)
        values = np.asanyarray(image.dataobj)
    except UnusableFileError:
        raise
    except (OSError, EOFError, ValueError, zlib.error, nibabel.filebasedimages.ImageFileError) as error:
        raise UnusableFileError("missing or damaged: expected a NIfTI file that decodes") from error
    return Scan(values=_three_axes(values).astype(np.float32), affine=_affine(image))


def _refuse_cut_off(image: Any, path: Path) -> None:
    """Before memory is asked for that a damaged header makes up."""
    if math.prod(image.shape) > MOST_DEFLATED * path.stat().st_size:
        raise UnusableFileError("cut off: its header tells of more voxels than it can hold")


def _three_axes(values: Array) -> Array:
    while values.ndim > 3 and values.shape[-1] == 1:
        values = values[..., 0]
    if values.ndim != 3 or values.dtype.kind not in "iuf":
        raise UnusableFileError(
            f"{values.ndim} axes of {values.dtype.name}: expected three axes of numbers; take one volume of a series"
        )
    return values


def _affine(image: Any) -> Array:
    """(4, 4), to millimetres, whatever length the header counts in."""
    header = image.header
    if not header["sform_code"] and not header["qform_code"]:
        raise UnusableFileError("it has no affine: orientation and voxel size are not known")
    scale = MILLIMETRES.get(int(header["xyzt_units"]) % 8, 1.0)  # the code of the time lies above
    return np.asarray(np.diag([scale, scale, scale, 1.0]) @ image.affine)
