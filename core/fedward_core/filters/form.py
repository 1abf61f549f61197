"""What filters that encode numbers have in common: which entries they touch, and what form may arrive.

Such a filter encodes the float32 entries of the shared group as integers and lets all others pass. So an entry that
arrives as integers of another type was encoded by another filter of the list, which decodes it in its turn; what nobody
decodes is refused when the update is checked. An entry that arrives as a float was not encoded at all.
"""

import numpy as np

from fedward_core.arrays import Array, Arrays
from fedward_core.errors import UpdateError
from fedward_core.manifest import Entry, Manifest
from fedward_core.update import SHARED, Update


def is_encoded(entry: Entry) -> bool:
    """Whether such a filter encodes an entry of this type."""
    return np.dtype(entry.dtype) == np.float32


def arrived(update: Update, manifest: Manifest) -> Arrays:
    """The shared group of an update that has just arrived.

    Raises:
        UpdateError: There is none, or it has other names than the manifest.
    """
    if SHARED not in update.groups:
        raise UpdateError(f"the update has no group '{SHARED}': found {', '.join(update.groups) or 'none'}")
    missing = set(manifest.names()) - update.shared.keys()
    unexpected = update.shared.keys() - set(manifest.names())
    if missing or unexpected:
        raise UpdateError(
            f"cannot decode the update: {len(missing)} of {len(manifest.entries)} entries are missing and "
            f"{len(unexpected)} are unexpected"
        )
    return update.shared


def check_code(entry: Entry, array: Array) -> None:
    """Refuse what no encoding filter can have made of a float32 entry.

    Raises:
        UpdateError: Another shape, or a type that is not an integer.
    """
    if array.shape != entry.shape:
        raise UpdateError(f"'{entry.name}' has shape {array.shape}, expected {entry.shape}")
    if array.dtype.kind not in "iu":
        raise UpdateError(
            f"'{entry.name}' arrived as {array.dtype}, expected it encoded as integers by this run's filters"
        )
