"""What a model is made of, told without the model: names, shapes, types and kinds.

The server has no torch. The models' side writes the manifest once; from then on it says what may arrive.
"""

from enum import StrEnum

from fedward_core.arrays import Arrays
from fedward_core.config import Frozen


class Kind(StrEnum):
    """What an entry of a state is."""

    PARAMETER = "parameter"  # trainable: server optimisers, clipping and noise touch these only
    BUFFER = "buffer"  # float statistics: averaged as they are
    COUNTER = "counter"  # integers: always private


class Entry(Frozen):
    """One tensor of a state: its full shape, its numpy type and its kind."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    kind: Kind


class Manifest(Frozen):
    """Every tensor of a state, in the state's order."""

    entries: tuple[Entry, ...]

    def names(self, *kinds: Kind) -> tuple[str, ...]:
        """Names of these kinds, or of all."""
        return tuple(entry.name for entry in self.entries if not kinds or entry.kind in kinds)

    @classmethod
    def of(cls, arrays: Arrays, *, parameters: frozenset[str] | None = None) -> "Manifest":
        """The manifest of plain arrays; floats outside ``parameters`` (default: none is outside) are buffers."""
        return cls(entries=tuple(_entry(name, arrays, parameters) for name in arrays))


def _entry(name: str, arrays: Arrays, parameters: frozenset[str] | None) -> Entry:
    array = arrays[name]
    if array.dtype.kind != "f":
        kind = Kind.COUNTER
    else:
        kind = Kind.PARAMETER if parameters is None or name in parameters else Kind.BUFFER
    return Entry(name=name, shape=array.shape, dtype=array.dtype.str, kind=kind)
