"""A job, as its folder tells of it.

queued --> running --> completed
  ^          |   `---> failed      its work failed or cannot be done, or its process died again and again
  `----------'`------> stopped     somebody asked for it; a queued job is stopped too
  the agent ended in order
"""

from enum import StrEnum
from typing import Any

from pydantic import model_validator

from fedward_client.jobs.work import Train, Work
from fedward_core.config import Frozen
from fedward_core.processes.process import Process


class JobState(StrEnum):
    """Where a job stands."""

    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    STOPPED = "stopped"

    @property
    def is_end(self) -> bool:
        """Whether nothing follows."""
        return self in {JobState.COMPLETED, JobState.FAILED, JobState.STOPPED}


class LocalJob(Frozen):
    """One piece of work that the site does for itself.

    Attributes:
        id: Its id; its folder has this name.
        dataset: The dataset, by the name in the site's policy.
        work: What it does with the dataset.
        spec_digest: The digest of its spec, or of that of the run whose model it uses.
        submitted_s: When, in seconds since the epoch.
        state: Where it stands.
        reason: Why; empty where nothing needs saying. It may name what only the site may see.
        deaths: How often its process died before its end.
        process: Its process, while it runs.
    """

    id: str
    dataset: str
    work: Work = Train()
    spec_digest: str
    submitted_s: float
    state: JobState = JobState.QUEUED
    reason: str = ""
    deaths: int = 0
    process: Process | None = None

    @model_validator(mode="before")
    @classmethod
    def _of_an_older_agent(cls, record: Any) -> Any:
        """When all jobs were trainings, a record told of their workers in this place."""
        if not isinstance(record, dict) or "ray_workers" not in record:
            return record
        others = {name: value for name, value in record.items() if name != "ray_workers"}
        return {**others, "work": {"kind": "train", "ray_workers": record["ray_workers"]}}

    def moved(
        self, state: JobState, reason: str = "", *, process: Process | None = None, died: bool = False
    ) -> "LocalJob":
        """The same job in another state."""
        deaths = self.deaths + died
        return self.model_copy(update={"state": state, "reason": reason, "process": process, "deaths": deaths})
