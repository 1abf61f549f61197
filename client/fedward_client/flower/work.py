"""A client app at work, as the agent sees it: by the note that the app keeps.

started  -->  noted  -->  over       the app has answered and removed its note
                    `-->  died       the note is there and the process is not
"""

import signal
import time
from dataclasses import dataclass, field
from pathlib import Path

from flwr.app import Message

from fedward_client.flower.work_note import WorkNote

# A task whose app does not start is offered again by the SuperNode after 30 s.
START_S = 30.0
POLL_S = 0.01


@dataclass
class Work:
    """The app of one task.

    Attributes:
        token: The task's.
        note: Where the app notes its work.
        was_ended: Whether this site has ended it.
    """

    token: str
    note: Path
    was_ended: bool = False
    _started: float = field(default_factory=time.monotonic)
    _last: WorkNote | None = None

    @property
    def run(self) -> str:
        """The run's id; empty until the app knows it."""
        note = self._look()
        return note.run if note else ""

    @property
    def message(self) -> Message | None:
        """The message that the app works on, without its content; None if it has not fetched one."""
        note = self._look()
        return note.message if note else None

    @property
    def is_alive(self) -> bool:
        """Whether the app's process runs."""
        note = self._look()
        return note is not None and note.process.is_alive

    @property
    def is_over(self) -> bool:
        """Whether nobody has to be answered for: the app has done it itself, or never started."""
        if self.note.exists():
            return False
        return self._last is not None or time.monotonic() - self._started > START_S

    @property
    def has_died(self) -> bool:
        """Whether the app has ended without an answer."""
        note = self._look()
        return note is not None and not note.process.is_alive and self.note.exists()

    def end(self) -> None:
        """Kill the app with all that it has started, and wait until it is gone."""
        note = self._look()
        if note is None:
            return
        self.was_ended = True
        note.process.signal_group(signal.SIGKILL)
        while note.process.is_alive:
            time.sleep(POLL_S)

    def forget(self) -> None:
        """Remove the note."""
        self.note.unlink(missing_ok=True)

    def _look(self) -> WorkNote | None:
        self._last = WorkNote.read(self.note) or self._last
        return self._last
