"""A claim on a folder: the lock of a file in it, which its process and what it forked hold until the last has ended."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from fedward_core.errors import BusyError

POLL_S = 0.05
PATIENCE_S = 5.0  # what the workers of a run that was killed need to notice, and to end


@contextmanager
def claimed(path: Path, busy: Exception, *, make: bool = True, patience_s: float = 0.0) -> Iterator[None]:
    """Hold the lock of a file while the block lasts; however the process ends, the lock ends with it.

    Args:
        path: The file, of which nothing but the lock is used.
        busy: Raised if another process holds the lock.
        make: Whether to make the file, and its folder, where there is none.
        patience_s: How long to wait for another, such as a worker that has yet to notice that its parent was killed.

    Raises:
        FileNotFoundError: There is no such file, and none was to be made.
    """
    if make:
        path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if make else 0), 0o600)
    try:
        _lock(descriptor, busy, time.monotonic() + patience_s)
        yield
    finally:
        os.close(descriptor)


def at_work(out: Path) -> AbstractContextManager[None]:
    """Claim a run's output folder, for whoever writes or removes what is in it.

    Raises:
        BusyError: Another process is at work in it.
    """
    busy = BusyError(
        "another run is at work in the output folder, or workers of one that was killed: wait until they have ended, "
        "or choose another folder"
    )
    return claimed(out / ".lock", busy, patience_s=PATIENCE_S)


def _lock(descriptor: int, busy: Exception, deadline: float) -> None:
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise busy from None
            time.sleep(POLL_S)
        else:
            return
