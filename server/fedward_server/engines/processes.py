"""Processes by id and start: an id alone may belong to another process by now."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Self

from fedward_core.config import Frozen

BOOT = Path("/proc/sys/kernel/random/boot_id")
STATE, START_TICKS = 0, 19  # fields of /proc/<pid>/stat behind the program's name


class Process(Frozen):
    """One process of this machine.

    Attributes:
        pid: Its id.
        started: Clock ticks from the boot of the machine to its start.
        boot: Which boot of the machine.
    """

    pid: int
    started: int
    boot: str

    @classmethod
    def of(cls, pid: int) -> Self | None:
        """The process that has an id now; None if it has ended, even where its parent has not noticed yet."""
        fields = _fields(pid)
        return None if fields is None or fields[STATE] in "ZX" else cls._named(pid, fields)

    @classmethod
    def child(cls, pid: int) -> Self:
        """A child of this process that was not waited for: it has a name even if it has ended already."""
        fields = _fields(pid)
        assert fields is not None
        return cls._named(pid, fields)

    @classmethod
    def _named(cls, pid: int, fields: list[str]) -> Self:
        return cls(pid=pid, started=int(fields[START_TICKS]), boot=BOOT.read_text(encoding="ascii").strip())

    @property
    def is_alive(self) -> bool:
        """Whether it has not ended."""
        return Process.of(self.pid) == self

    def signal(self, number: int) -> None:
        """Send a signal to the process; nothing happens if it has ended."""
        if self.is_alive:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def signal_group(self, number: int) -> None:
        """Send a signal to the process and all of its group, which it leads; nothing happens if it has ended."""
        if self.is_alive:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, number)


def _fields(pid: int) -> list[str] | None:
    """What the kernel tells of a process behind its name, which stands in brackets and may hold anything."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
