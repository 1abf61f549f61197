"""The queue of a site's jobs: folders in the agent's home, so that it survives whatever ends the agent.

<home>/jobs/<id>/job.json     where the job stands; written when it is submitted, and from then on by the agent alone
<home>/jobs/<id>/stop         is there once somebody has asked for its end
<home>/jobs/<id>/spec.yaml    of a training: its spec
<home>/jobs/<id>/run/         and the run: results, weights, and private state
<home>/jobs/<id>/model/       of a use of a finished model: a copy of it, and in kept/ of what the site has kept
<home>/jobs/<id>/results/     and what came of it, which names or shows patients; it is there once it is whole
<home>/jobs/<id>/job.log      what its process says; it may name files
<home>/jobs/<id>/fault        is there once its process has ended by what would end it again
"""

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError

from fedward_client.agent.errors import AgentError
from fedward_client.agent.policy import SitePolicy
from fedward_client.jobs.job import LocalJob
from fedward_client.jobs.model_copy import ModelSource, copy_model, write_spec
from fedward_client.jobs.work import Explain, Predict, Train, Work
from fedward_core.atomic import replacing
from fedward_core.spec import Spec

_RECORD = "job.json"
_OWN = 0o700  # with `run_as`, others may pass through the home folder


class JobQueue:
    """The jobs of one site, in the order in which they came.

    Args:
        folder: Where they lie.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def submit(self, spec: Spec, policy: SitePolicy, *, ray_workers: int = 1) -> LocalJob:
        """Queue a training.

        Args:
            spec: What it runs.
            policy: The site's.
            ray_workers: Workers that share every batch by Ray Train.

        Raises:
            AgentError: The site's policy gives the dataset to no job.
        """
        dataset = spec.dataset.name
        _check_allowed(dataset, policy)
        with self._new(spec.name) as folder:
            write_spec(spec, folder / "spec.yaml")
            return self._queued(folder.name, spec, Train(ray_workers=ray_workers), dataset)

    def submit_use(self, run: ModelSource, work: Predict | Explain, policy: SitePolicy, *, dataset: str) -> LocalJob:
        """Queue a use of a finished model. What it needs of the run is copied, so that the run may be removed.

        Args:
            run: The run, which has been looked over.
            work: What its model is used for.
            policy: The site's.
            dataset: On which dataset.

        Raises:
            AgentError: The site's policy gives the dataset to no job.
            FedwardError: What was kept cannot be read.
            OSError: A file of the run is not there any more, or the disk is full.
        """
        _check_allowed(dataset, policy)
        with self._new(f"{run.spec.name}-{work.kind}") as folder:
            copy_model(run, work, folder)
            return self._queued(folder.name, run.spec, work, dataset)

    def all(self) -> list[LocalJob]:
        """Every job but those that :meth:`damaged` names, the oldest first."""
        found = [job for id_ in self._ids() if (job := self._found(id_)) is not None]
        return sorted(found, key=lambda job: (job.submitted_s, job.id))

    def damaged(self) -> list[str]:
        """The ids of jobs whose job.json cannot be read; no other job is held up by them."""
        return [id_ for id_ in self._ids() if self._found(id_) is None and (self._folder / id_ / _RECORD).exists()]

    def read(self, id_: str) -> LocalJob:
        """One job.

        Raises:
            AgentError: There is no such job, or its file is damaged.
        """
        try:
            return LocalJob.model_validate_json((self.folder_of(id_) / _RECORD).read_bytes())
        except FileNotFoundError:
            raise AgentError(f"there is no job '{id_}': see `fedward job list`") from None
        except ValidationError:
            raise AgentError(damage_of(id_)) from None

    def write(self, job: LocalJob) -> None:
        """Keep where a job stands, whole or not at all."""
        with replacing(self.folder_of(job.id) / _RECORD) as temporary:
            temporary.write_text(job.model_dump_json(indent=2), encoding="utf-8")

    def ask_to_stop(self, id_: str) -> LocalJob:
        """Ask for a job's end; to ask again, or of one that has ended, is fine.

        Raises:
            AgentError: There is no such job.
        """
        job = self.read(id_)
        if not job.state.is_end:
            (self.folder_of(id_) / "stop").touch()
        return job

    def is_to_stop(self, id_: str) -> bool:
        """Whether somebody has asked for a job's end."""
        return (self.folder_of(id_) / "stop").exists()

    def folder_of(self, id_: str) -> Path:
        """A job's folder.

        Raises:
            AgentError: The id is no name of a folder here.
        """
        if Path(id_).name != id_:
            raise AgentError(f"'{id_}' is no id of a job: see `fedward job list`")
        return self._folder / id_

    def _ids(self) -> list[str]:
        return sorted(path.parent.name for path in self._folder.glob(f"*/{_RECORD}"))

    def _found(self, id_: str) -> LocalJob | None:
        """A job; None where its file is damaged, or gone by now."""
        try:
            return self.read(id_)
        except AgentError:
            return None

    def _queued(self, id_: str, spec: Spec, work: Work, dataset: str) -> LocalJob:
        job = LocalJob(id=id_, dataset=dataset, work=work, spec_digest=spec.digest(), submitted_s=time.time())
        self.write(job)
        return job

    @contextmanager
    def _new(self, name: str) -> Iterator[Path]:
        """A folder for a new job, which goes again if it cannot be filled."""
        folder = self._made(name)
        try:
            yield folder
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    def _made(self, name: str) -> Path:
        """A folder that nobody else has, by counting up."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._folder.chmod(_OWN)
        number = 1
        while True:
            try:
                (self._folder / f"{name}-{number}").mkdir()
            except FileExistsError:
                number += 1
            else:
                return self._folder / f"{name}-{number}"


def damage_of(id_: str) -> str:
    """What is wrong with a job whose file cannot be read."""
    return f"{_RECORD} of job '{id_}' is damaged: remove the job's folder, and submit it anew"


def refusal(dataset: str, policy: SitePolicy) -> str:
    """Why no job may use a dataset; empty if one may."""
    if dataset not in policy.datasets:
        known = ", ".join(sorted(policy.datasets)) or "none"
        return f"site.yaml offers no dataset '{dataset}': it offers {known}"
    if policy.job_datasets != "all" and dataset not in policy.job_datasets:
        return f"site.yaml gives dataset '{dataset}' to no job: name it under job_datasets"
    return ""


def _check_allowed(dataset: str, policy: SitePolicy) -> None:
    if reason := refusal(dataset, policy):
        raise AgentError(reason)
