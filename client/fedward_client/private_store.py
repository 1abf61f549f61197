"""Private state of one site, on the site's own disk.

    <folder>/round-00012-1f3a9c20.safetensors      one entry: private weights, moments, counters

Each entry is one file, written whole or not at all. The last few are kept, so that a run that is taken up at an earlier
round finds the entry that fits.
"""

from pathlib import Path

from fedward_core.arrays import read_arrays, write_arrays
from fedward_core.errors import PrivateStateError
from fedward_core.store import PrivateEntry


class FilePrivateStore:
    """A private store in a folder.

    Args:
        folder: Holds one stage of one run of one site; made when first written.
        keep: How many entries are kept.
        durable: Survive a loss of power, and wait for the disk for it. A killed process loses nothing either way.
    """

    def __init__(self, folder: Path, *, keep: int = 3, durable: bool = True) -> None:
        self._folder = folder
        self._keep = keep
        self._durable = durable

    def read(self, round_: int, parent: str) -> PrivateEntry:
        """The entry of a round and parent; a missing or damaged file is a PrivateStateError or CheckpointError."""
        path = self._path(round_, parent)
        if not path.exists():
            raise PrivateStateError(f"no private state of round {round_} that fits these weights: join the stage anew")
        arrays, facts = read_arrays(path)
        return PrivateEntry(round=round_, parent=parent, arrays=arrays, facts=facts)

    def write(self, entry: PrivateEntry) -> None:
        """Keep an entry, and drop the oldest beyond the number that is kept."""
        write_arrays(self._path(entry.round, entry.parent), entry.arrays, entry.facts, durable=self._durable)
        for old in sorted(self._folder.glob("round-*.safetensors"))[: -self._keep]:
            old.unlink(missing_ok=True)

    def _path(self, round_: int, parent: str) -> Path:
        return self._folder / f"round-{round_:05d}-{parent[:16]}.safetensors"
