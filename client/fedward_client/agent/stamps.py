"""Whether the content of a site's datasets has changed, at a cost that stays small however many files there are."""

import hashlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

TABLE = "labels.csv"
LOOK_EVERY_S = 300.0  # decided here: at the files beside a table, which whoever changes the table need not wait for
SHARE_OF_TIME = 0.01  # decided here: looking takes no more of the agent's time, so that of many files it is rarer

Status = tuple[int, int]  # when it was changed, and its size


@dataclass(frozen=True)
class _Look:
    """What was seen of the files in a folder.

    Attributes:
        table: The status of the table at that time.
        digest: Of the names, times and sizes of all files in the folder, at any depth.
        holds_until_s: When to look again, though the table is the same.
    """

    table: Status
    digest: str
    holds_until_s: float


class Stamps:
    """Stamps of datasets, which change with their content.

    A file or a table is looked at each time, the files beside a table every few minutes. What a table lists outside its
    folder, or behind a link to another folder, is not looked at.
    """

    def __init__(self) -> None:
        self._looks: dict[Path, _Look] = {}

    def of(self, dataset: Path) -> object:
        """The stamp of a file, or of a folder with a table; None where there is nothing."""
        if not dataset.is_dir():
            return _status(dataset)
        table = _status(dataset / TABLE)
        return None if table is None else (table, self._files(dataset, table))

    def _files(self, folder: Path, table: Status) -> str:
        look = self._looks.get(folder)
        if look is None or look.table != table or time.monotonic() >= look.holds_until_s:
            look = self._looks[folder] = _look(folder, table)
        return look.digest


def _look(folder: Path, table: Status) -> _Look:
    began_s = time.monotonic()
    hasher = hashlib.sha256()
    for path in _files_in(folder):
        hasher.update(f"{path} {_status(path)}\n".encode(errors="surrogateescape"))
    ended_s = time.monotonic()
    pause_s = max(LOOK_EVERY_S, (ended_s - began_s) / SHARE_OF_TIME)
    return _Look(table, hasher.hexdigest(), ended_s + pause_s)


def _files_in(folder: Path) -> Iterator[Path]:
    """All files, always in the same order; folders that cannot be opened are left out."""
    for place, folders, files in os.walk(folder):
        folders.sort()
        yield from (Path(place, name) for name in sorted(files))


def _status(path: Path) -> Status | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size
