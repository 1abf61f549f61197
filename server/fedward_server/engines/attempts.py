"""The contract between the scheduler and whatever starts attempts: three calls and a JSON handle.

A handle outlives the coordinator: it is stored with the run, and a coordinator that was killed finds the attempt again.
"""

from enum import StrEnum
from typing import Any, Literal, Protocol, TypeAlias

from fedward_core.config import Frozen
from fedward_core.errors import FedwardError
from fedward_server.runs.folder import RunFolder

Handle: TypeAlias = dict[str, Any]


class AttemptJob(Frozen):
    """What an attempt carries out, as plain values.

    Attributes:
        run: The run's id.
        spec: The whole spec.
        sites: The sites that take part.
        data: The folder with their data.
        engine: The registered name of the engine.
        workers: Sites that train side by side.
        reuse: The folder with finished stages that runs may begin with; None to compute every stage.
        superlink: ``host:port`` of the SuperLink at which the sites are; None for sites on this machine.
        superlink_keys: The folder with what its clients need, see :class:`SuperLinkKeeper`; None where that is nothing.
    """

    run: str
    spec: dict[str, Any]
    sites: tuple[str, ...]
    data: str
    engine: str
    workers: int
    reuse: str | None = None
    superlink: str | None = None
    superlink_keys: str | None = None


class Outcome(Frozen):
    """How an attempt ended.

    Attributes:
        state: ``stopped`` is for one that was told to end before the run had; it can be taken up.
        reason: Why it failed.
    """

    state: Literal["completed", "failed", "stopped"]
    reason: str = ""


class AttemptDiedError(FedwardError):
    """A process of an attempt died; another attempt goes on from what was reached."""


class Status(StrEnum):
    """Whether an attempt is under way."""

    ALIVE = "alive"
    ENDED = "ended"


class Attempts(Protocol):
    """Starts attempts, looks after them and ends them. No call waits for an attempt."""

    def start(self, folder: RunFolder, job: AttemptJob) -> Handle:
        """Start an attempt in a run's folder, or adopt the one that is alive there.

        Raises:
            OSError: It could not be started.
        """

    def find(self, folder: RunFolder) -> Handle | None:
        """The handle of an attempt that is alive in a folder, for one whose handle was never stored."""

    def poll(self, handle: Handle) -> Status:
        """Whether the attempt is under way; one that nobody knows any more has ended."""

    def outcome(self, folder: RunFolder) -> Outcome | None:
        """How an attempt that has ended did so; None if it died without a word."""

    def stop(self, handle: Handle, *, by_force: bool = False) -> None:
        """Ask an attempt to end, and return at once. Asking for the end of what has ended is fine."""
