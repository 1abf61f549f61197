"""Lets the results of a job leave the agent's folder: what a coordinator would offer of a run, and nothing private.

run.json  spec.yaml  cards.json  events.jsonl  metrics.csv  metrics.json  digests.json
stages/<stage>/final.safetensors  stages/<stage>/best.safetensors
"""

import hashlib
import json
import zipfile
from pathlib import Path

from fedward_client.agent.errors import AgentError
from fedward_client.jobs.job import JobState
from fedward_client.jobs.queue import JobQueue
from fedward_core.atomic import replacing

_FILES = ("run.json", "spec.yaml", "cards.json", "events.jsonl", "metrics.csv", "metrics.json")


def release(queue: JobQueue, id_: str, path: Path) -> None:
    """Write the results of a job that has completed to a zip file.

    Raises:
        AgentError: There is no such job, it has not completed, its results are gone, or the file exists.
    """
    job = queue.read(id_)
    if job.state is not JobState.COMPLETED:
        raise AgentError(f"job '{id_}' is {job.state}: only the results of one that has completed can be released")
    if path.exists():
        raise AgentError(f"'{path.name}' exists: choose another file")
    run = queue.folder_of(id_) / "run"
    weights = sorted([*run.glob("stages/*/final.safetensors"), *run.glob("stages/*/best.safetensors")])
    files = [run / name for name in _FILES if (run / name).is_file()] + weights
    if not files:
        raise AgentError(f"job '{id_}' has no results any more: its folder was emptied")
    digests = {str(file.relative_to(run)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for file in files:
            archive.write(file, file.relative_to(run))
        archive.writestr("digests.json", json.dumps(digests, indent=2) + "\n")
