"""A job's own copy of all that it needs of a finished run, which may be removed meanwhile.

<job>/model/spec.yaml                              the spec of the run
<job>/model/stages/<stage>/<weights>.safetensors   the weights that were chosen, and no others
<job>/kept/                                        what the site has kept of a personalised stage, where that was given
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

import yaml

from fedward_client.jobs.work import KEPT, MODEL, UseOfModel
from fedward_client.private_store import FilePrivateStore
from fedward_core.spec import Spec


@dataclass(frozen=True, kw_only=True)
class ModelSource:
    """Where a model comes from that a job uses: a finished run.

    Attributes:
        folder: Its folder, or that of an unpacked download.
        spec: Its spec.
        kept: Where the site has kept its own parts of the stage that is used; None for the model of all sites.
    """

    folder: Path
    spec: Spec
    kept: Path | None = None


def copy_model(run: ModelSource, use: UseOfModel, job: Path) -> None:
    """Copy what a use of a model needs into a job's folder.

    Raises:
        FedwardError: What was kept cannot be read.
        OSError: A file is not there any more, or the disk is full.
    """
    weights = Path("stages") / use.stage / f"{'best' if use.best else 'final'}.safetensors"
    (job / MODEL / weights).parent.mkdir(parents=True)
    write_spec(run.spec, job / MODEL / "spec.yaml")
    shutil.copyfile(run.folder / weights, job / MODEL / weights)
    if run.kept is not None:
        FilePrivateStore(job / KEPT).write(FilePrivateStore(run.kept).newest())


def write_spec(spec: Spec, path: Path) -> None:
    """Write a spec with all its defaults."""
    path.write_text(yaml.safe_dump(spec.model_dump(mode="json"), sort_keys=False), encoding="utf-8")
