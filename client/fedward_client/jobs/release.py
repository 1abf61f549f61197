"""Lets the results of a job leave the agent's folder, and what names or shows patients only where that is asked for.

of a training    run.json  spec.yaml  cards.json  events.jsonl  metrics.csv  metrics.json  digests.json
                 stages/<stage>/final.safetensors  stages/<stage>/best.safetensors
                 as a coordinator would offer of a run: nothing private
of predictions   report.json  reliability.png  digests.json, where there are labels
                 predictions.csv as well, which names patients, and masks, if asked for
of explanations  *.png  *.nii.gz  digests.json, which show patients: all of it if asked for, and else nothing
"""

import hashlib
import json
import zipfile
from collections.abc import Sequence
from pathlib import Path

from fedward_client.agent.errors import AgentError
from fedward_client.jobs.job import JobState, LocalJob
from fedward_client.jobs.queue import JobQueue
from fedward_client.jobs.work import RESULTS, Train
from fedward_core.atomic import replacing

_OF_RUN = ("run.json", "spec.yaml", "cards.json", "events.jsonl", "metrics.csv", "metrics.json")
_OF_NOBODY = ("report.json", "reliability.png")  # figures over all images; whatever else a model says is of patients


def release(queue: JobQueue, id_: str, path: Path, *, patients: bool = False) -> None:
    """Write the results of a job that has completed to a zip file.

    Args:
        queue: The site's jobs.
        id_: The job.
        path: The zip file.
        patients: Whether with what names or shows patients; the file is then for its owner alone.

    Raises:
        AgentError: There is no such job, it has not completed, its results are gone, or the file exists;
            or ``patients`` would change nothing, or nothing can leave without.
    """
    job = queue.read(id_)
    if job.state is not JobState.COMPLETED:
        raise AgentError(f"job '{id_}' is {job.state}: only the results of one that has completed can be released")
    if path.exists():
        raise AgentError(f"'{path.name}' exists: choose another file")
    trained = isinstance(job.work, Train)
    folder = queue.folder_of(id_) / ("run" if trained else RESULTS)
    files = _files_of_run(folder) if trained else sorted(folder.glob("*"))
    if not files:
        raise AgentError(f"job '{id_}' has no results any more: its folder was emptied")
    _write(path, folder, _leaving(job, files, patients=patients), mode=0o600 if patients else 0o666)


def _files_of_run(run: Path) -> list[Path]:
    weights = sorted([*run.glob("stages/*/final.safetensors"), *run.glob("stages/*/best.safetensors")])
    return [run / name for name in _OF_RUN if (run / name).is_file()] + weights


def _leaving(job: LocalJob, files: Sequence[Path], *, patients: bool) -> Sequence[Path]:
    """Those of a job's results that may leave."""
    if isinstance(job.work, Train):
        if patients:
            raise AgentError(f"the results of job '{job.id}' name no patients: leave --patients out")
        return files
    without = [file for file in files if file.name in _OF_NOBODY]
    if not patients and not without:
        raise AgentError(
            f"all that came of job '{job.id}' names or shows patients: give --patients once it is decided that it may "
            "leave"
        )
    return files if patients else without


def _write(path: Path, folder: Path, files: Sequence[Path], *, mode: int) -> None:
    digests = {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
    with replacing(path) as temporary:
        temporary.touch(mode)
        with zipfile.ZipFile(temporary, "w") as archive:
            for file in files:
                archive.write(file, file.relative_to(folder))
            archive.writestr("digests.json", json.dumps(digests, indent=2) + "\n")
