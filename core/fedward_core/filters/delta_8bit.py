"""Eight bits for each number: the movement away from the global weights, in steps of a scale.

    row of (update - reference)  -->  scale = largest / 127  +  int8 numbers in [-127, 127]

A row is what lies under one index of the first axis, e.g. one output channel; a vector is one row. Movements within a
row are of like size, those of different layers are not, so each row has a scale. Scales travel in a group of their own.

Where neither the update nor the reference has a negative number in a row, rounding makes none: the root of a variance
of a batch norm would be no number.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fedward_core.arrays import Array, Arrays
from fedward_core.errors import UpdateError
from fedward_core.filters.config import Delta8BitConfig
from fedward_core.filters.form import arrived, check_code, is_encoded
from fedward_core.manifest import Entry, Manifest
from fedward_core.update import SHARED, Update

SCALES = "scales"
STEPS = 127  # on either side of zero, so that the code is symmetric


class Delta8Bit:
    """Rounds the movement of the float32 entries of the shared group.

    Each number is off by at most half its row's scale, or by less than a whole one where half would make a variance
    negative; the rounding of float32 itself comes on top. A row that did not move stays where it was, exactly.
    """

    def __init__(self, config: Delta8BitConfig) -> None:
        self.config = config

    def encode(self, update: Update, reference: Arrays, *, seed: int) -> Update:  # noqa: ARG002 - the family's
        """Float32 entries as int8, with one scale for each row; nothing is drawn."""
        shared, scales = dict(update.shared), {}
        for name, array in update.shared.items():
            if array.dtype == np.float32:
                shared[name], scales[name] = quantise(array, reference[name])
        return replace(update, groups={**update.groups, SHARED: shared, SCALES: scales})

    def decode(self, update: Update, reference: Arrays, manifest: Manifest) -> Update:
        """Float32 again, without the group of scales.

        Raises:
            UpdateError: Other names or shapes than expected, an entry that was not encoded, or a scale that is missing,
                of no entry, of another form, negative or not finite.
        """
        shared = dict(arrived(update, manifest))
        groups = dict(update.groups)
        scales = groups.pop(SCALES, {})
        if strange := scales.keys() - shared.keys():
            raise UpdateError(f"there are scales of {len(strange)} entries that the update does not have")
        for entry in filter(is_encoded, manifest.entries):
            check_code(entry, shared[entry.name])
            if shared[entry.name].dtype == np.int8:
                scale = _checked(entry, scales)
                shared[entry.name] = restore(shared[entry.name], scale, reference[entry.name])
        return replace(update, groups={**groups, SHARED: shared})

    def finish(
        self,
        aggregate: dict[str, Array],
        weights: tuple[float, ...],  # noqa: ARG002 - the family's
    ) -> dict[str, Array]:
        """The same: nothing shows only in the sum."""
        return aggregate


def quantise(array: NDArray[np.float32], reference: Array) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Numbers of the movement ``array - reference`` in their shape, and the scale of each row.

    A row with a movement that is not finite has such a scale, by which the server knows it.
    """
    with np.errstate(invalid="ignore", over="ignore"):  # training that diverged is told by the scale, not by a warning
        rows = _as_rows(array - reference)
    scales = np.abs(rows).max(axis=1, initial=0) / np.float32(STEPS)
    usable = np.isfinite(scales) & (scales > 0)
    steps = np.where(usable[:, None], rows, 0) / np.where(usable, scales, 1)[:, None]
    # Clipped, because the scale of a subnormal movement may itself be rounded down.
    numbers = np.rint(steps).clip(-STEPS, STEPS).astype(np.int8)
    _keep_from_below_zero(numbers, scales, array, reference)
    return numbers.reshape(array.shape), scales


def _keep_from_below_zero(
    numbers: NDArray[np.int8], scales: NDArray[np.float32], array: Array, reference: Array
) -> None:
    """Round up, in place, what would come back negative in rows without a negative number."""
    above = (_as_rows(array).min(axis=1, initial=0) >= 0) & (_as_rows(reference).min(axis=1, initial=0) >= 0)
    above &= np.isfinite(scales)
    numbers[above] += restore(numbers[above], scales[above], _as_rows(reference)[above]) < 0


def restore(numbers: NDArray[np.int8], scales: NDArray[np.float32], reference: Array) -> Array:
    """The array that :func:`quantise` was given, up to half a scale."""
    rows = _as_rows(numbers).astype(np.float32)
    with np.errstate(over="ignore"):  # what becomes infinite is refused when the update is checked
        rows *= scales[:, None]
        rows += _as_rows(reference)
    return rows.reshape(numbers.shape)


def num_rows(shape: tuple[int, ...]) -> int:
    """Rows of a tensor: the length of its first axis; a vector or a single number is one row."""
    return shape[0] if len(shape) > 1 else 1


def _as_rows(array: Array) -> Array:
    rows = num_rows(array.shape)
    return array.reshape(rows, array.size // max(rows, 1))


def _checked(entry: Entry, scales: Arrays) -> Array:
    if entry.name not in scales:
        raise UpdateError(
            f"the scales of '{entry.name}' are missing: expected {num_rows(entry.shape)} in group '{SCALES}'"
        )
    scale = scales[entry.name]
    if scale.shape != (num_rows(entry.shape),) or scale.dtype != np.float32:
        raise UpdateError(
            f"the scales of '{entry.name}' are {scale.dtype} {scale.shape}, expected float32 ({num_rows(entry.shape)},)"
        )
    if not (np.isfinite(scale) & (scale >= 0)).all():
        raise UpdateError(f"the scales of '{entry.name}' are negative or not finite: training diverged at this site")
    return scale
