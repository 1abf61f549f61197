"""Processes by id and start: an id alone may belong to another process by now."""

import os
from contextlib import suppress
from typing import Self

from fedward_core.config import Frozen
from fedward_core.processes.kernel import boot, identity


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
        facts = identity(pid)
        return None if facts is None else cls.model_validate(facts)

    @property
    def is_alive(self) -> bool:
        """Whether it has not ended."""
        return Process.of(self.pid) == self

    @property
    def is_of_this_boot(self) -> bool:
        """Whether the machine has not been started anew since."""
        return self.boot == boot()

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
