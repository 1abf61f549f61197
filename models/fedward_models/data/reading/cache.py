"""What was decoded once, kept on the site's disk and mapped into memory, so that no later run decodes it again.

    $FEDWARD_CACHE/decoded/<key>/     facts.json, images.npy and so on; ~/.cache/fedward where the variable is not set
    $FEDWARD_CACHE/stamps/<stamp>     the key of what was read from files of these names, sizes and times

The key is a digest of the files' content and of how the study reads them. The folder holds images of patients: it
belongs to its owner alone, it never leaves the site, and it may be deleted at any time.
"""

import hashlib
import json
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from fedward_core.arrays import Array, Arrays

FOLDER = "FEDWARD_CACHE"
MAPPED = "images"  # the only array that may be larger than memory
FORMAT = 5  # a new one leaves older entries unread
DAMAGED = (OSError, ValueError, EOFError, KeyError)
LARGEST_PART = 0.1  # decided here: of the disk, before the entries that were not used for longest are deleted
UNFINISHED = "unfinished-"
ABANDONED_S = 86_400.0  # decided here: a day after it began, what is unfinished was left by a process that was killed

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What is kept of one site.

    Attributes:
        facts: Plain values that JSON can hold.
        arrays: Arrays by name.
    """

    facts: Mapping[str, Any] = field(repr=False)
    arrays: Arrays = field(repr=False)


def stamp_of(paths: Iterable[Path], reading: str) -> str:
    """A digest of the names, sizes and times of files, and of how they are read; no file is opened."""
    hasher = hashlib.sha256(f"{FORMAT} {reading}".encode())
    for path in paths:
        hasher.update(f"{path.absolute()} {_seen(path)}".encode(errors="surrogateescape"))
    return hasher.hexdigest()


def _seen(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except (OSError, ValueError):  # missing, locked, or a name that no file can have
        return None
    return status.st_mtime_ns, status.st_size


def key_of(content: str, reading: str) -> str:
    """A digest of a site's content and of how it is read."""
    return hashlib.sha256(f"{FORMAT} {content} {reading}".encode()).hexdigest()


def find(stamp: str) -> Entry | None:
    """The entry that was read from files with this stamp; its arrays are mapped from the disk, copied where written to.

    None where there is none. A damaged one is deleted.
    """
    pointer = _root() / "stamps" / stamp
    try:
        key = pointer.read_text(encoding="ascii")
    except OSError:
        return None
    folder = _root() / "decoded" / key
    try:
        entry = _load(folder)
    except DAMAGED:
        shutil.rmtree(folder, ignore_errors=True)
        pointer.unlink(missing_ok=True)
        return None
    with suppress(OSError):  # another process may have made room; what is mapped stays readable
        os.utime(folder)
    return entry


def keep(stamp: str, key: str, entry: Entry) -> Entry:
    """Write an entry, unless it is there, and give it back as :func:`find` does.

    Where the disk does not take it, the entry is given back from memory, and the log says so: every process then reads
    the site anew.
    """
    folder = _root() / "decoded" / key
    try:
        if not folder.exists():
            _write(folder, entry)
        pointer = _root() / "stamps" / stamp
        pointer.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        pointer.write_text(key, encoding="ascii")
        return _load(folder)
    except DAMAGED as error:
        _log.warning("decoded images cannot be kept on disk, and will be decoded again: %s", type(error).__name__)
        return Entry(facts=entry.facts, arrays={name: _as_written(array) for name, array in entry.arrays.items()})


def _as_written(array: Array) -> Array:
    """An array with the strides that it would have if it were read from a file.

    Those of axes with one entry are free, and torch takes some for another memory format, in which it rounds otherwise.
    """
    order: Literal["F", "C"] = "F" if array.flags.fnc else "C"
    return array.reshape(-1, order=order).reshape(array.shape, order=order)


def _root() -> Path:
    given = os.environ.get(FOLDER)
    return Path(given) if given else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fedward"


def _load(folder: Path) -> Entry:
    facts = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
    arrays = {name: np.load(folder / f"{name}.npy", mmap_mode=mode) for name, mode in facts["arrays"].items()}
    return Entry(facts=facts["facts"], arrays=arrays)


def _write(folder: Path, entry: Entry) -> None:
    """Write beside, then rename: others see a whole entry or none."""
    folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    _make_room(folder.parent, sum(array.nbytes for array in entry.arrays.values()))
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=UNFINISHED) as name:
        new = Path(name) / "entry"
        new.mkdir(mode=0o700)
        for array_name, array in entry.arrays.items():
            np.save(new / f"{array_name}.npy", array, allow_pickle=False)
        modes = {array_name: "c" if array_name == MAPPED else None for array_name in entry.arrays}
        (new / "facts.json").write_text(json.dumps({"arrays": modes, "facts": entry.facts}), encoding="utf-8")
        if not folder.exists():  # another process may have been faster
            new.rename(folder)


class _Stored(NamedTuple):
    """A folder of the cache, ordered by when it was used."""

    used_s: float
    size: int
    path: Path

    @classmethod
    def at(cls, path: Path) -> "_Stored | None":
        """What lies there; None where another process has just taken it away."""
        try:
            used_s = path.stat().st_mtime
            return cls(used_s, sum(file.stat().st_size for file in path.rglob("*") if file.is_file()), path)
        except FileNotFoundError:
            return None


def _make_room(decoded: Path, needed: int) -> None:
    """Delete the entries that were not used for longest. Where one is mapped, its pages live on until they are not."""
    entries = sorted(filter(None, map(_Stored.at, decoded.iterdir())))
    surplus = sum(entry.size for entry in entries) + needed - LARGEST_PART * shutil.disk_usage(decoded).total
    for used_s, size, path in entries:
        abandoned = time.time() - used_s > ABANDONED_S
        if abandoned if path.name.startswith(UNFINISHED) else surplus > 0:
            shutil.rmtree(path, ignore_errors=True)
            surplus -= size
