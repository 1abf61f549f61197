"""Writes what happens to the run's folder and tells whoever listens."""

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from fedward_core.errors import CheckpointError
from fedward_core.events import Event, EventKind, Listener


class Recorder:
    """Appends events to a file, one a line, and passes them on.

    Args:
        path: The file; what is in it stays.
        listen: Called with each event.
    """

    def __init__(self, path: Path, listen: Listener) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._listen = listen
        _end_last_line(path)

    def tell(
        self,
        kind: EventKind,
        *,
        stage: str | None = None,
        round_: int | None = None,
        site: str | None = None,
        **facts: Any,
    ) -> None:
        """Record one event now."""
        self.record(kind, facts, stage=stage, round_=round_, site=site)

    def record(
        self,
        kind: EventKind,
        facts: Mapping[str, Any],
        *,
        stage: str | None = None,
        round_: int | None = None,
        site: str | None = None,
    ) -> None:
        """The same for facts that somebody else has named, with whatever names.

        Raises:
            CheckpointError: The disk is full or not writable.
        """
        event = Event(kind=kind, time_s=time.time(), stage=stage, round=round_, site=site, facts=dict(facts))
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(event.model_dump_json() + "\n")
        except OSError as error:
            _end_last_line(self._path)  # what may follow must not stand behind half a line
            reason = error.strerror or "the disk refused"
            raise CheckpointError(f"cannot write '{self._path.name}': {reason}. Run again to go on") from error
        self._listen(event)

    def told_by(self, kind: EventKind, stage: str, round_: int) -> frozenset[str | None]:
        """The sites with an event of a kind on record for a round; None among them for one of the whole run."""
        if not self._path.exists():
            return frozenset()
        events = _events(self._path.read_bytes())
        return frozenset(e.site for e in events if (e.kind, e.stage, e.round) == (kind, stage, round_))


def _events(content: bytes) -> Iterator[Event]:
    """What whole lines tell. One that a power cut has damaged tells nothing, and must not hold up the run."""
    for line in content.split(b"\n")[:-1]:
        with suppress(ValueError):
            yield Event.model_validate_json(line)


def _end_last_line(path: Path) -> None:
    """Drop a last line that a killed process or a full disk left unfinished, perhaps within a character."""
    if path.exists():
        content = path.read_bytes()
        if not content.endswith(b"\n"):
            os.truncate(path, content.rfind(b"\n") + 1)
