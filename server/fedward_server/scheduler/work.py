"""What is done for a run in each state.

Nothing here knows the database, and nothing waits for a run; for a SuperLink that has to be started, a start does.
"""

import logging
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from fedward_core.errors import FedwardError
from fedward_core.events import Event
from fedward_core.spec import Spec
from fedward_server.engines.attempts import AttemptJob, Attempts, Outcome, Status
from fedward_server.home import Home
from fedward_server.runs.folder import read_lines, readable_from
from fedward_server.runs.states import RunState
from fedward_server.scheduler.task import Call, Finding, Task
from fedward_server.sites.network import Network
from fedward_server.sites.recruiting import Period, dataset_needed, recruit
from fedward_server.sites.service import RETURN_S

log = logging.getLogger(__name__)

# Decided here: an attempt may finish the folding of a round and its checkpoint before it is ended by force.
GRACE_S = 15.0
# Decided here: twice may be bad luck, such as another program that needed the memory.
MAX_CRASHES = 3


class Work:
    """Looks after runs: recruits their sites, and starts and watches their attempts.

    Args:
        home: Where runs have their folders.
        attempts: Starts and ends attempts.
        network: Where enrolled sites are.
    """

    def __init__(self, home: Home, attempts: Attempts, network: Network) -> None:
        self._home = home
        self.attempts = attempts
        self._network = network
        self._all_back_s = time.time() + RETURN_S

    def do(self, task: Task) -> Finding:
        """Do what a run needs now. A fault of ours is tried again, and ends the run if it lasts."""
        try:
            return self._do(task)
        except Exception as error:
            log.exception("a fault in the work on run %s", task.run)
            return self._try_again(task, f"a fault of the coordinator itself ({type(error).__name__})")

    def _do(self, task: Task) -> Finding:
        if task.state is RunState.SUBMITTED:
            return self._begin(task)
        if task.state is RunState.RECRUITING:
            return self._recruit(task)
        if task.state is RunState.STARTING:
            return self._start(task)
        return self._watch(task)

    def _begin(self, task: Task) -> Finding:
        finding = Finding(bytes_read=task.bytes_read)
        if task.cohort is not None:
            return finding.moving(RunState.STARTING)
        call = Call(app=self._network.app(), until_s=time.time() + self._network.recruit_s)
        return replace(finding, call=call).moving(RunState.RECRUITING)

    def _recruit(self, task: Task) -> Finding:
        finding = Finding(bytes_read=task.bytes_read)
        spec = Spec.parse(task.spec)
        since_s = max(task.moved_s, self._all_back_s)
        period = Period(since_s=since_s, until_s=task.recruits_until_s, now_s=time.time())
        found = recruit(task.candidates, dataset_needed(spec), period)
        if not found.can_serve(spec.cohort):
            return replace(finding, recruitment=found).moving(RunState.FAILED, found.failure(spec.cohort))
        if found.waiting or not task.may_start:
            return finding
        return replace(finding, recruitment=found).moving(RunState.STARTING)

    def _start(self, task: Task) -> Finding:
        folder = self._home.run(task.run)
        try:
            # Before the attempt writes: later, nobody could tell what it has written from what was read before.
            finding = Finding(bytes_read=readable_from(folder.events, task.bytes_read))
            handle = self.attempts.start(folder, self._job(task))
        except OSError as error:
            return self._try_again(task, error.strerror or type(error).__name__)
        except FedwardError as error:
            return self._try_again(task, str(error))
        return replace(finding, handle=handle).moving(RunState.RUNNING)

    def _job(self, task: Task) -> AttemptJob:
        stages = str(self._home.stages(task.study))
        job = task.job(self._data(task)).model_copy(update={"reuse": stages})
        if not task.enrolled:
            return job
        address, keys = self._network.superlink()
        return job.model_copy(update={"superlink": address, "superlink_keys": str(keys)})

    def _watch(self, task: Task) -> Finding:
        folder = self._home.run(task.run)
        handle = task.handle or self.attempts.find(folder)
        # In this order: when the attempt has ended, all that it told has been written.
        status = Status.ENDED if handle is None else self.attempts.poll(handle)
        lines, bytes_read = read_lines(folder.events, task.bytes_read)
        finding = Finding(handle=handle, events=tuple(self._events(lines, task)), bytes_read=bytes_read)
        if handle is not None and status is Status.ALIVE:
            if task.state in (RunState.STOPPING, RunState.PAUSING):
                self.attempts.stop(handle, by_force=time.time() - task.moved_s > GRACE_S)
            return finding
        # A run that was resumed, and is stopped before its attempt starts, has nothing but the outcome of the last one.
        outcome = None if handle is None else self.attempts.outcome(folder)
        return self._conclude(task, finding, outcome)

    def _conclude(self, task: Task, finding: Finding, outcome: Outcome | None) -> Finding:
        if outcome is not None and outcome.state == "completed":
            return finding.moving(RunState.COMPLETED)
        if outcome is not None and outcome.state == "failed":
            return finding.moving(RunState.FAILED, self._without_paths(outcome.reason, task))
        if task.state is RunState.STOPPING:
            return finding.moving(RunState.CANCELLED, "stopped on request")
        if task.state is RunState.PAUSING:
            return replace(finding, handle=None).moving(RunState.PAUSED, "paused on request")
        return _again(task, finding, crashed=outcome is None)

    def _try_again(self, task: Task, why: str) -> Finding:
        """Leave the run where it stands and look at it again, or fail it if that was tried often enough."""
        finding = Finding(handle=task.handle, bytes_read=task.bytes_read, crashed=True)
        if task.crashes + 1 < MAX_CRASHES:
            return finding
        if task.handle is not None:
            self.attempts.stop(task.handle, by_force=True)
        doing = "could not be started" if task.state is RunState.STARTING else "could not be looked after"
        return finding.moving(RunState.FAILED, f"the run {doing}: {self._without_paths(why, task)}")

    def _data(self, task: Task) -> str:
        if task.data is not None:
            return task.data
        folder = self._home.empty(task.study)
        folder.mkdir(parents=True, exist_ok=True)
        return str(folder)

    def _events(self, lines: Iterable[bytes], task: Task) -> Iterator[dict[str, Any]]:
        """What lines tell. One that a power cut has damaged tells nothing, and must not hold up those behind it."""
        for line in lines:
            try:
                event = Event.model_validate_json(self._without_paths(line.decode(), task))
            except ValueError:
                log.warning("run %s: a line of its events is damaged, and was left out", task.run)
            else:
                yield event.model_dump(mode="json")

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
