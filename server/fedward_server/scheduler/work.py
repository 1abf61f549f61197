"""What is done for a run in each state. Nothing here knows the database, and nothing waits."""

import time
from dataclasses import replace

from fedward_core.errors import CheckpointError
from fedward_server.engines.attempts import Attempts, Outcome, Status
from fedward_server.home import Home
from fedward_server.runs.folder import read_lines
from fedward_server.runs.states import RunState
from fedward_server.scheduler.task import Finding, Task

# Decided here: an attempt may finish the folding of a round and its checkpoint before it is ended by force.
GRACE_S = 15.0
# Decided here: twice may be bad luck, such as another program that needed the memory.
MAX_CRASHES = 3


class Work:
    """Looks after the attempts of runs.

    Args:
        home: Where runs have their folders.
        attempts: Starts and ends attempts.
    """

    def __init__(self, home: Home, attempts: Attempts) -> None:
        self._home = home
        self._attempts = attempts

    def do(self, task: Task) -> Finding:
        """Do what a run needs now."""
        if task.state is RunState.SUBMITTED:
            return Finding(to=RunState.STARTING, bytes_read=task.bytes_read)
        if task.state is RunState.STARTING:
            return self._start(task)
        return self._watch(task)

    def _start(self, task: Task) -> Finding:
        finding = Finding(bytes_read=task.bytes_read)
        try:
            handle = self._attempts.start(self._home.run(task.run), task.job(self._data(task)))
        except (OSError, CheckpointError) as error:
            why = (error.strerror or type(error).__name__) if isinstance(error, OSError) else str(error)
            return finding.moving(RunState.FAILED, f"the attempt could not be started: {why}")
        return replace(finding, handle=handle).moving(RunState.RUNNING)

    def _watch(self, task: Task) -> Finding:
        folder = self._home.run(task.run)
        handle = task.handle or self._attempts.find(folder)
        # In this order: when the attempt has ended, all that it told has been written.
        status = Status.ENDED if handle is None else self._attempts.poll(handle)
        lines, bytes_read = read_lines(folder.events, task.bytes_read)
        told = tuple(self._without_paths(line, task) for line in lines)
        finding = Finding(handle=handle, lines=told, bytes_read=bytes_read)
        if handle is not None and status is Status.ALIVE:
            if task.state is RunState.STOPPING:
                self._attempts.stop(handle, by_force=time.time() - task.moved_s > GRACE_S)
            return finding
        return self._conclude(task, finding, self._attempts.outcome(folder))

    def _conclude(self, task: Task, finding: Finding, outcome: Outcome | None) -> Finding:
        if outcome is not None and outcome.state == "completed":
            return finding.moving(RunState.COMPLETED)
        if outcome is not None and outcome.state == "failed":
            return finding.moving(RunState.FAILED, self._without_paths(outcome.reason, task))
        if task.state is RunState.STOPPING:
            return finding.moving(RunState.CANCELLED, "stopped on request")
        return _again(task, finding, crashed=outcome is None)

    def _data(self, task: Task) -> str:
        if task.data is not None:
            return task.data
        folder = self._home.empty(task.study)
        folder.mkdir(parents=True, exist_ok=True)
        return str(folder)

    def _without_paths(self, text: str, task: Task) -> str:
        """A text in which no folder of this machine is named."""
        for folder in (task.data, str(self._home.path)):
            if folder:
                text = text.replace(folder, "…")
        return text


def _again(task: Task, finding: Finding, *, crashed: bool) -> Finding:
    finding = replace(finding, handle=None, crashed=crashed)
    if crashed and task.crashes + 1 >= MAX_CRASHES:
        reason = f"{MAX_CRASHES} attempts died without finishing a round: the machine's own log may tell why"
        return finding.moving(RunState.FAILED, reason)
    what = "died" if crashed else "was ended from outside"
    return finding.moving(RunState.STARTING, f"attempt {task.attempt} {what}; a new one goes on from the last round")
