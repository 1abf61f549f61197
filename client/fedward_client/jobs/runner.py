"""Runs the site's jobs one after the other, each as a process of its own: a command of `fedward`.

A job's process belongs to nobody, so it outlives an agent that is killed; the next agent finds it by its id and start,
or starts it again if it has died. A training then goes on from its last round; all else begins anew. What would end it
again, such as data that do not fit its model, it tells itself, and is not started again.
"""

import logging
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from fedward_client.agent.errors import AgentError
from fedward_client.agent.home import AgentHome
from fedward_client.agent.policy import read_policy
from fedward_client.jobs.fault import FAULT, fault_of
from fedward_client.jobs.job import JobState, LocalJob
from fedward_client.jobs.outcome import Outcome, outcome
from fedward_client.jobs.queue import JobQueue, damage_of, refusal
from fedward_client.jobs.slot import SLOT
from fedward_core.atomic import drop_leftovers
from fedward_core.errors import CheckpointError, FedwardError
from fedward_core.processes.launching import end_service, start_service

MOST_DEATHS = 3  # decided here: what dies as often will die again
LOOK_S = 1.0  # decided here: between two looks at the folders

log = logging.getLogger(__name__)


class JobRunner:
    """Keeps one site's jobs going.

    Args:
        home: The agent's folder.
        site: The site.
        environment: Variables of jobs beside those of this process, e.g. which GPUs they see.
    """

    def __init__(self, home: AgentHome, site: str, environment: Mapping[str, str] | None = None) -> None:
        self._home = home
        self._site = site
        self._environment = {**(environment or {}), SLOT: str(home.slot)}
        self._queue = JobQueue(home.jobs)
        self._looked_s = -LOOK_S
        self._fault = ""  # what was wrong at the last look

    def step(self) -> None:
        """Look after the jobs, but not more often than needed. What is wrong with them ends no federation here."""
        if time.monotonic() - self._looked_s < LOOK_S:
            return
        fault = ""
        try:
            self.look()
        except (FedwardError, OSError) as error:  # such as a full disk, or a damaged file
            fault = str(error)
        if fault and fault != self._fault:
            log.warning("jobs cannot be looked after: %s", fault)
        self._fault, self._looked_s = fault, time.monotonic()

    def look(self) -> None:
        """Look after the job that runs; start the next one if there is none.

        Raises:
            AgentError: A job's file is damaged; the other jobs were looked after.
            PolicyError: The policy cannot be read; jobs wait until it can.
        """
        jobs = [self._looked_after(job) for job in self._queue.all() if not job.state.is_end]
        if not any(job.state is JobState.RUNNING for job in jobs):
            self._start_next(jobs)
        if damaged := self._queue.damaged():
            raise AgentError("; ".join(map(damage_of, damaged)))

    def close(self) -> None:
        """End the job that runs, in order; the next agent takes it up before all others."""
        for job in self._queue.all():
            if job.state is JobState.RUNNING and job.process is not None:
                end_service(job.process)
                self._move(job.moved(JobState.QUEUED) if self._outcome(job) is None else self._ended(job))

    def _start_next(self, jobs: Iterable[LocalJob]) -> None:
        for job in jobs:
            if job.state is JobState.QUEUED and self._started(job).state is JobState.RUNNING:
                return

    def _looked_after(self, job: LocalJob) -> LocalJob:
        if self._queue.is_to_stop(job.id):
            if job.process is not None:
                end_service(job.process)
            # Its work may come to its end in the moment in which it is asked to.
            return self._move(job.moved(*(self._outcome(job) or (JobState.STOPPED, ""))))
        if job.state is JobState.QUEUED or (job.process is not None and job.process.is_alive):
            return job
        return self._move(self._ended(job))

    def _ended(self, job: LocalJob) -> LocalJob:
        """What becomes of a job whose process is no more."""
        if found := self._outcome(job):
            return job.moved(*found)
        if job.process is not None and not job.process.is_of_this_boot:  # the machine ended, and not the job by itself
            return job.moved(JobState.QUEUED)
        if job.deaths + 1 >= MOST_DEATHS:
            reason = f"its process died {MOST_DEATHS} times before its end: job.log says why"
            return job.moved(JobState.FAILED, reason, died=True)
        return job.moved(JobState.QUEUED, died=True)

    def _outcome(self, job: LocalJob) -> Outcome | None:
        return outcome(job, self._queue.folder_of(job.id))

    def _started(self, job: LocalJob) -> LocalJob:
        # The policy may have changed since the job was submitted.
        if reason := refusal(job.dataset, read_policy(self._home.policy)):
            return self._move(job.moved(JobState.FAILED, reason))
        data = self._home.catalogue / job.dataset
        if not data.is_dir():  # the catalogue is laid out soon after the agent's start
            return job
        folder = self._queue.folder_of(job.id)
        environment = {**self._environment, FAULT: str(fault_of(folder))}
        process = start_service(self._command(job, data), log=folder / "job.log", environment=environment)
        try:
            return self._move(job.moved(JobState.RUNNING, process=process))
        except CheckpointError:  # a process that nobody knows of would soon have a twin
            end_service(process)
            raise

    def _command(self, job: LocalJob, data: Path) -> list[str]:
        arguments = job.work.arguments(self._queue.folder_of(job.id), site=self._site, data=data)
        return [sys.executable, "-m", "fedward_cli", *arguments]

    def _move(self, job: LocalJob) -> LocalJob:
        log.info("job '%s' is %s", job.id, job.state)
        if job.state.is_end:
            drop_leftovers(self._queue.folder_of(job.id))
        self._queue.write(job)
        return job
