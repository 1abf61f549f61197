"""Attempts as processes of this machine: each run's engine works in one of its own, which outlives the coordinator."""

import os
import signal
import subprocess
import sys

from pydantic import ValidationError

from fedward_core.arrays import replacing
from fedward_server.engines.attempts import AttemptJob, Handle, Outcome, Status
from fedward_server.engines.processes import Process
from fedward_server.runs.folder import RunFolder


class SubprocessAttempts:
    """See :class:`fedward_server.engines.attempts.Attempts`."""

    def __init__(self) -> None:
        self._children: dict[int, subprocess.Popen[bytes]] = {}

    def start(self, folder: RunFolder, job: AttemptJob) -> Handle:
        """Start an attempt in a process group of its own, or adopt the one that is alive in the folder."""
        adopted = self.find(folder)
        if adopted is not None:
            return adopted
        folder.path.mkdir(parents=True, exist_ok=True)
        folder.outcome.unlink(missing_ok=True)
        with replacing(folder.job) as temporary:
            temporary.write_text(job.model_dump_json(), encoding="utf-8")
        return self._launch(folder)

    def find(self, folder: RunFolder) -> Handle | None:
        """The process that the folder names, if it is alive."""
        try:
            process = Process.model_validate_json(folder.attempt.read_bytes())
        except (FileNotFoundError, ValidationError):
            return None
        return process.model_dump() if process.is_alive else None

    def poll(self, handle: Handle) -> Status:
        """Whether the process is alive; a child of ours that has ended is let go."""
        child = self._children.get(handle["pid"])
        if child is not None and child.poll() is not None:
            del self._children[handle["pid"]]
        return Status.ALIVE if Process.model_validate(handle).is_alive else Status.ENDED

    def outcome(self, folder: RunFolder) -> Outcome | None:
        """What the process wrote as its last act."""
        try:
            return Outcome.model_validate_json(folder.outcome.read_bytes())
        except FileNotFoundError:
            return None

    def stop(self, handle: Handle, *, by_force: bool = False) -> None:
        """Ask by SIGTERM, or end by SIGKILL, the process; by force, its workers too."""
        process = Process.model_validate(handle)
        if by_force:
            process.signal_group(signal.SIGKILL)
        else:
            process.signal(signal.SIGTERM)

    def _launch(self, folder: RunFolder) -> Handle:
        command = [sys.executable, "-m", "fedward_server.attempt", str(folder.path)]
        with folder.log.open("ab") as log:
            child = subprocess.Popen(  # noqa: S603 - our own module
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, env=_environment()
            )
        self._children[child.pid] = child
        return Process.child(child.pid).model_dump()


def _environment() -> dict[str, str]:
    """What the coordinator was given, without its secrets."""
    return {name: value for name, value in os.environ.items() if name != "FEDWARD_KEY"}
