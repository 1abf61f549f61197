"""Private state of one site, on the site's own disk.

    <folder>/round-00012-1f3a9c20.safetensors      one entry: private weights, moments, counters

Each entry is one file, written whole or not at all. The last few are kept, so that a run that is taken up at an earlier
round finds the entry that fits.
"""

import re
from pathlib import Path

from fedward_core.arrays import read_arrays, write_arrays
from fedward_core.atomic import drop_leftovers
from fedward_core.errors import PrivateStateError, UpdateError
from fedward_core.private_state import PrivateEntry

DIGEST = re.compile(r"[0-9A-Za-z]*")  # it comes from outside, and becomes part of a file's name


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
        """Keep an entry, and drop the oldest beyond the number that is kept.

        Entries of later rounds count as the oldest: the run was taken up before them, and may never come to them again.
        The one that this one was made from stays: where the coordinator counts no round after it, the next order builds
        on it again.
        """
        drop_leftovers(self._folder)  # whoever stops a run kills its apps, in the middle of a file or not
        write_arrays(self._path(entry.round, entry.parent), entry.arrays, entry.facts, durable=self._durable)
        paths = sorted(self._paths(), key=lambda path: (_round_of(path) <= entry.round, _round_of(path)))
        spared = self._path(*entry.base) if entry.base else None
        for old in paths[: -self._keep]:
            if old != spared:
                old.unlink(missing_ok=True)

    def newest(self) -> PrivateEntry:
        """The entry that was written last, of the highest round; its parent is told by the first digits.

        Raises:
            PrivateStateError: There is none.
            CheckpointError: It is damaged.
        """
        paths = sorted(self._paths(), key=lambda path: (_round_of(path), path.stat().st_mtime_ns))
        if not paths:
            raise PrivateStateError("the folder holds no private state: name that of one site and one stage")
        arrays, facts = read_arrays(paths[-1])
        parent = paths[-1].stem.rpartition("-")[2]
        return PrivateEntry(round=_round_of(paths[-1]), parent=parent, arrays=arrays, facts=facts)

    @property
    def last_round(self) -> int | None:
        """The highest round of which there is an entry; None if there is none."""
        return max(map(_round_of, self._paths()), default=None)

    def _paths(self) -> list[Path]:
        return list(self._folder.glob("round-*.safetensors"))

    def _path(self, round_: int, parent: str) -> Path:
        if not DIGEST.fullmatch(parent):
            raise UpdateError("the order does not name its weights by a digest: expected hexadecimal digits")
        return self._folder / f"round-{round_:05d}-{parent[:16]}.safetensors"


def _round_of(path: Path) -> int:
    return int(path.name.split("-")[1])
