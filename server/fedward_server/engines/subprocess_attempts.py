"""Attempts as processes of this machine: each run's engine works in one of its own, which outlives the coordinator."""

import signal
import sys

from pydantic import ValidationError

from fedward_core.atomic import replacing
from fedward_core.processes.launching import start_service
from fedward_core.processes.process import Process
from fedward_server.engines.attempts import AttemptJob, Handle, Outcome, Status
from fedward_server.runs.folder import RunFolder


class SubprocessAttempts:
    """See :class:`fedward_server.engines.attempts.Attempts`."""

    def start(self, folder: RunFolder, job: AttemptJob) -> Handle:
        """Start an attempt in a process group of its own, or adopt the one that is alive in the folder."""
        adopted = self.find(folder)
        if adopted is not None:
            return adopted
        folder.path.mkdir(parents=True, exist_ok=True)
        folder.outcome.unlink(missing_ok=True)
        with replacing(folder.job) as temporary:
            temporary.write_text(job.model_dump_json(), encoding="utf-8")
        command = [sys.executable, "-m", "fedward_server.attempt", str(folder.path)]
        return start_service(command, log=folder.log).model_dump()

    def find(self, folder: RunFolder) -> Handle | None:
        """The process that the folder names, if it is alive."""
        process = attempt_in(folder)
        return process.model_dump() if process is not None and process.is_alive else None

    def poll(self, handle: Handle) -> Status:
        """Whether the process is alive."""
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


def attempt_in(folder: RunFolder) -> Process | None:
    """The process of the newest attempt in a folder, whether it is alive or not."""
    try:
        return Process.model_validate_json(folder.attempt.read_bytes())
    except (FileNotFoundError, ValidationError):
        return None
