"""The one slot of a site: what trains there holds it, so that an order of a federation and a job never train at once.

<folder>/lock              locked by the process that trains; the kernel unlocks it when that ends, however it ends
<folder>/waiting/<pid>     orders that wait, by process id and start; a job lets them go first, between two rounds

    order:  wait in line ---------------> locked: train, answer -> unlocked
    job:    wait while orders wait -----> locked: a round -------> unlocked -> wait while orders wait -> ...
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pydantic import ValidationError

from fedward_core.processes.process import Process

SLOT = "FEDWARD_SLOT"  # the environment variable that names the slot's folder to a job's process
POLL_S = 0.05


class Slot:
    """A site's slot.

    Args:
        folder: Its own folder.
    """

    def __init__(self, folder: Path) -> None:
        self._lock = folder / "lock"
        self._waiting = folder / "waiting"

    def make(self) -> None:
        """Lay the folder out. Where it is another user's, it may hold links; the agent, as root, follows none."""
        self._waiting.mkdir(parents=True, exist_ok=True)
        if self._lock.is_symlink():
            self._lock.unlink()
        os.close(os.open(self._lock, os.O_CREAT | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644))

    @contextmanager
    def for_order(self) -> Iterator[None]:
        """Hold the slot for an order of a federation while the block lasts, before any job that waits too."""
        descriptor, note = self._open(), self._waiting / str(os.getpid())
        try:
            note.write_text(_this_process().model_dump_json(), encoding="utf-8")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            note.unlink(missing_ok=True)
            yield
        finally:
            note.unlink(missing_ok=True)
            os.close(descriptor)

    @contextmanager
    def for_job(self) -> Iterator["JobTurn"]:
        """Hold the slot for a job while the block lasts, but for the moments in which it gives way."""
        descriptor = self._open()
        try:
            turn = JobTurn(self, descriptor)
            turn.begin()
            yield turn
        finally:
            os.close(descriptor)

    @property
    def has_orders(self) -> bool:
        """Whether an order waits; a note that a process left when it was killed counts no more."""
        return any(_is_alive(note) for note in self._waiting.iterdir() if note.name.isdigit() and note.is_file())

    def _open(self) -> int:
        self.make()
        return os.open(self._lock, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)


class JobTurn:
    """A job's hold on a slot.

    Args:
        slot: The slot.
        descriptor: Of the open lock, the job's own.
    """

    def __init__(self, slot: Slot, descriptor: int) -> None:
        self._slot = slot
        self._descriptor = descriptor

    def begin(self) -> None:
        """Wait until no order waits and nobody trains, then hold the slot."""
        while not self._try():
            time.sleep(POLL_S)

    def give_way(self) -> None:
        """Between two rounds: let every order that waits go first."""
        if self._slot.has_orders:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
            self.begin()

    def _try(self) -> bool:
        if self._slot.has_orders:
            return False
        with suppress(BlockingIOError):
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        return False


def _is_alive(note: Path) -> bool:
    try:
        return Process.model_validate_json(note.read_bytes()).is_alive
    except FileNotFoundError:
        return False
    except ValidationError:  # it is being written, or its process was killed in that moment
        return Process.of(int(note.name)) is not None


def _this_process() -> Process:
    process = Process.of(os.getpid())
    assert process is not None
    return process
