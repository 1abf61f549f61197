"""From the pixels that a DICOM file stores to values in its own units, e.g. Hounsfield units."""

import warnings
from typing import TYPE_CHECKING

import numpy as np

from fedward_core.arrays import Array
from fedward_models.data.reading.found import UnusableFileError

if TYPE_CHECKING:
    from pydicom import Dataset as Header

OF_A_FRAME = ("PixelValueTransformationSequence", "FrameVOILUTSequence")  # functional groups: rescaling, window


def stored_pixels(header: "Header") -> Array:
    """Decode the pixels as they are stored, colour as RGB.

    Raises:
        UnusableFileError: No decoder reads them.
    """
    from pydicom.pixels.processing import apply_color_lut  # noqa: PLC0415 - slow to import
    from pydicom.pixels.utils import pixel_array  # noqa: PLC0415 - slow to import

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of padding and lengths that break the standard
            values = pixel_array(header)
            if header.PhotometricInterpretation == "PALETTE COLOR":
                values = apply_color_lut(values, header)
    except Exception as error:  # every decoder raises errors of its own
        syntax = getattr(header.file_meta.get("TransferSyntaxUID", None), "name", "none")
        raise UnusableFileError(
            f"its pixels cannot be decoded (transfer syntax {syntax}): the file is cut off, or no decoder for it is "
            "installed. Export it anew, uncompressed"
        ) from error
    return np.asarray(values)


def rescaled(values: Array, header: "Header") -> Array:
    """Stored values in the file's own units, e.g. Hounsfield units; float32, no number outside the scanner's field."""
    from pydicom.pixels.processing import apply_modality_lut  # noqa: PLC0415 - slow to import

    units = np.array(apply_modality_lut(values, header), dtype=np.float32)
    units[_is_padding(values, header)] = np.nan
    return units


def of_frame(header: "Header", index: int) -> "Header":
    """The header, with what an enhanced file says of one frame where others say it of all (PS3.3, C.7.6.16).

    Args:
        header: Of the file.
        index: The frame, counted from 0.
    """
    from pydicom import Dataset  # noqa: PLC0415 - slow to import

    shared = header.get("SharedFunctionalGroupsSequence") or ()
    own = (header.get("PerFrameFunctionalGroupsSequence") or ())[index : index + 1]
    found = [item for groups in (*shared, *own) for name in OF_A_FRAME for item in groups.get(name) or ()]
    if not found:
        return header
    lifted = Dataset(dict(header.items()))  # a copy of its own: header.copy() shares its elements
    lifted.file_meta = header.file_meta
    for item in found:
        lifted.update(item)
    return lifted


def _is_padding(values: Array, header: "Header") -> Array:
    """Where stored values stand for nothing: one value, or all from one to another."""
    bounds = [header.get(name) for name in ("PixelPaddingValue", "PixelPaddingRangeLimit")]
    numbers = [bound for bound in bounds if isinstance(bound, int)]
    if not numbers:
        return np.zeros(values.shape, dtype=bool)
    stored = np.array(numbers).astype(values.dtype)  # some files write -2000 as the unsigned 63536
    return np.asarray((values >= stored.min()) & (values <= stored.max()))
