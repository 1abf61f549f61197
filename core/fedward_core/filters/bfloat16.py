"""Sixteen bits for each number: bfloat16, as the upper half of a float32.

float32   s eeeeeeee mmmmmmm mmmmmmmmmmmmmmmm   -->   s eeeeeeee mmmmmmm   as uint16, for numpy has no such type
"""

import numpy as np
from numpy.typing import NDArray

from fedward_core.arrays import Array, Arrays
from fedward_core.filters.config import BFloat16Config
from fedward_core.filters.form import arrived, check_code, is_encoded
from fedward_core.manifest import Entry, Manifest
from fedward_core.update import Update

QUIET = np.uint16(0x0040)  # the bit that makes a NaN of any payload quiet, and keeps it from becoming infinite


class BFloat16:
    """Rounds the float32 entries of the shared group to nearest, ties to even.

    A finite number changes by at most one part in 256 (2 to the power of -8), unless it is subnormal. Those within that
    of the largest float32 become infinite, and the update is then refused.
    """

    def __init__(self, config: BFloat16Config) -> None:
        self.config = config

    def encode(self, update: Update, reference: Arrays, *, seed: int) -> Update:  # noqa: ARG002 - the family's
        """Float32 entries as uint16; nothing is drawn."""
        return update.with_shared(
            {name: to_bits(array) if array.dtype == np.float32 else array for name, array in update.shared.items()}
        )

    def decode(self, update: Update, reference: Arrays, manifest: Manifest) -> Update:  # noqa: ARG002 - the family's
        """Float32 again.

        Raises:
            UpdateError: Other names or shapes than expected, or a float32 entry that was not encoded.
        """
        shared = arrived(update, manifest)
        return update.with_shared({entry.name: _decoded(entry, shared[entry.name]) for entry in manifest.entries})

    def finish(
        self,
        aggregate: dict[str, Array],
        weights: tuple[float, ...],  # noqa: ARG002 - the family's
    ) -> dict[str, Array]:
        """The same: nothing shows only in the sum."""
        return aggregate


def to_bits(array: NDArray[np.float32]) -> NDArray[np.uint16]:
    """The nearest bfloat16 of each number, as its bits; NaN stays NaN."""
    bits = np.asarray(array, order="C").reshape(-1).view(np.uint32)
    upper = bits >> 16
    # Half of the last place, less one where the place is even: adding it carries as rounding to nearest even does.
    rounded = ((bits + (0x7FFF + (upper & 1))) >> 16).astype(np.uint16)
    nan = np.isnan(array).reshape(-1)
    rounded[nan] = upper[nan].astype(np.uint16) | QUIET
    return rounded.reshape(array.shape)


def from_bits(bits: NDArray[np.uint16]) -> NDArray[np.float32]:
    """The numbers that these bits stand for, exactly."""
    return (bits.reshape(-1).astype(np.uint32) << 16).view(np.float32).reshape(bits.shape)


def _decoded(entry: Entry, array: Array) -> Array:
    if not is_encoded(entry):
        return array
    check_code(entry, array)
    return from_bits(array) if array.dtype == np.uint16 else array
