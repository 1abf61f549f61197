"""NIfTI files, ``.nii`` and ``.nii.gz``."""

import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from fedward_core.arrays import Array
from fedward_models.data.reading.found import UnusableFileError
from fedward_models.data.reading.voxels import Scan

SUFFIXES = (".nii", ".nii.gz")
MOST_DEFLATED = 1032  # bytes that one byte of a .nii.gz can stand for (zlib, "Technical Details")
MILLIMETRES = {1: 1000.0, 3: 0.001}  # by the code of a header's unit: metres, micrometres; all else is millimetres


def is_nifti(path: Path) -> bool:
    """Whether a file calls itself NIfTI."""
    return path.name.lower().endswith(SUFFIXES)


def read_nifti_scan(path: Path) -> Scan:
    """Read a volume as the file has it.

    Raises:
        UnusableFileError: The file is missing or damaged, has no three axes, no plain numbers, or no affine.
    """
    import nibabel  # noqa: PLC0415 - slow to import

    try:
        image: Any = nibabel.load(path)
        shape = _three_axes(image, path)
        values = np.asanyarray(image.dataobj).reshape(shape)
    except UnusableFileError:
        raise
    except (OSError, EOFError, ValueError, zlib.error, nibabel.filebasedimages.ImageFileError) as error:
        raise UnusableFileError("missing or damaged: expected a NIfTI file that decodes") from error
    return Scan(values=values.astype(np.float32), affine=_affine(image))


def _three_axes(image: Any, path: Path) -> tuple[int, ...]:
    """The shape of one volume, by the header alone: before a series, or what damage makes up, takes memory."""
    shape, kind = image.shape, image.get_data_dtype()
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) != 3 or kind.kind not in "iuf":
        raise UnusableFileError(
            f"{len(shape)} axes of {kind.name}: expected three axes of numbers; take one volume of a series"
        )
    if math.prod(shape) > MOST_DEFLATED * path.stat().st_size:
        raise UnusableFileError("cut off: its header tells of more voxels than it can hold")
    return tuple(shape)


def _affine(image: Any) -> Array:
    """(4, 4), to millimetres, whatever length the header counts in."""
    header = image.header
    if not header["sform_code"] and not header["qform_code"]:
        raise UnusableFileError("it has no affine: orientation and voxel size are not known")
    scale = MILLIMETRES.get(int(header["xyzt_units"]) % 8, 1.0)  # the code of the time lies above
    return np.asarray(np.diag([scale, scale, scale, 1.0]) @ image.affine)
