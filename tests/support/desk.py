"""A hospital's desk in tests: a queue of jobs of its own, and the agent's half that carries them out."""

import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fedward_client.agent.home import AgentHome
from fedward_client.agent.policy import read_policy
from fedward_client.jobs.job import JobState, LocalJob
from fedward_client.jobs.queue import JobQueue
from fedward_client.jobs.runner import JobRunner
from fedward_core.spec import Spec
from fedward_models.data import generate

PATIENCE_S = 300.0


class Desk:
    """A site with a queue, and a runner.

    Attributes:
        home: The agent's folder.
        queue: The jobs.
        runner: What carries them out.
    """

    def __init__(self, folder: Path) -> None:
        self.home = AgentHome(folder / "agent")
        self.home.make()
        generate(folder / "data", sites=1, images_per_site=30, image_px=16)
        (site,) = (path.stem for path in (folder / "data").glob("*.npz"))
        self.home.policy.write_text(
            f"datasets: {{chest: {{path: {folder / 'data' / site}.npz}}, other: {{path: /x}}}}\n"
        )
        (self.home.catalogue / "chest").mkdir(parents=True)
        (self.home.catalogue / "chest" / "north.npz").symlink_to(folder / "data" / f"{site}.npz")
        self.queue = JobQueue(self.home.jobs)
        self.runner = JobRunner(self.home, "north")

    def carry_out_by(self, program: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let a small program, which gets the job's folder, stand in for the commands of jobs."""
        command = [sys.executable, "-c", program]
        monkeypatch.setattr(JobRunner, "_command", lambda _, job, __: [*command, str(self.queue.folder_of(job.id))])

    def submit(self, name: str, *, rounds: int = 1, dataset: str = "chest") -> LocalJob:
        stage = {"name": "only", "method": "rehearsal", "rounds": rounds}
        spec = Spec.parse({"name": name, "dataset": {"name": dataset, "image_px": 16}, "stages": [stage]})
        return self.queue.submit(spec, read_policy(self.home.policy))

    def wait(self, job: LocalJob, holds: Callable[[LocalJob], Any]) -> LocalJob:
        """Look, as the agent does, until something holds of a job."""
        deadline = time.monotonic() + PATIENCE_S
        while not holds(found := self.queue.read(job.id)):
            assert time.monotonic() < deadline, found
            self.runner.look()
            threading.Event().wait(0.02)
        return found

    def starts(self, job: LocalJob) -> int:
        path = self.queue.folder_of(job.id) / "starts"
        return len(path.read_text().splitlines()) if path.exists() else 0


def ended(job: LocalJob) -> bool:
    return job.state.is_end


def runs(job: LocalJob) -> bool:
    return job.state is JobState.RUNNING
