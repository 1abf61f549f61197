"""How a job's work has ended, as its folder tells, whoever saw its process end.

<job>/run/run.json and metrics.json    of a training: the first tells of a failure too
<job>/results/                         of a use of a model: it is there once it is whole
<job>/fault                            of either: what ended its process, and would end it again
"""

import json
from pathlib import Path

from fedward_client.jobs.fault import read_fault
from fedward_client.jobs.job import JobState, LocalJob
from fedward_client.jobs.work import RESULTS, Train

Outcome = tuple[JobState, str]  # and the reason


def outcome(job: LocalJob, folder: Path) -> Outcome | None:
    """How a job has ended; None if its work has not come to its end, or does not tell.

    Args:
        job: The job.
        folder: Its folder.
    """
    found = _of_run(folder / "run") if isinstance(job.work, Train) else _of_use(folder / RESULTS)
    if found is None and (fault := read_fault(folder)):
        return JobState.FAILED, fault
    return found


def _of_use(results: Path) -> Outcome | None:
    return (JobState.COMPLETED, "") if results.is_dir() else None


def _of_run(run: Path) -> Outcome | None:
    """Of a damaged record the next start tells.

    A run that ended before its figures were written writes them when it is started again.
    """
    try:
        facts = json.loads((run / "run.json").read_text(encoding="utf-8"))
        state, reason = facts["state"], facts["reason"]
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
    if state == "completed" and (run / "metrics.json").exists():
        return JobState.COMPLETED, ""
    return (JobState.FAILED, reason) if state == "failed" else None
