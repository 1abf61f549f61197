"""A job as a file, for the ServerApp's process: it never travels further than this machine's disk."""

import json
from pathlib import Path

from fedward_core.atomic import replacing
from fedward_core.engine import Job
from fedward_core.spec import Spec

JOB_FILE = "FEDWARD_JOB"  # the environment variable that names the file to the ServerApp


def write_job(path: Path, job: Job) -> None:
    """Write a job, whole or not at all."""
    values = {
        "spec": job.spec.model_dump(mode="json"),
        "run": job.run,
        "sites": job.sites,
        "data": str(job.data),
        "out": str(job.out),
        "reuse": str(job.reuse) if job.reuse else None,
        "workers": job.workers,
        "superlink": job.superlink,
        "superlink_keys": str(job.superlink_keys) if job.superlink_keys else None,
    }
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(values), encoding="utf-8")


def read_job(path: Path) -> Job:
    """Read a job as it was written."""
    values = json.loads(path.read_text(encoding="utf-8"))
    return Job(
        spec=Spec.model_validate(values["spec"]),
        run=values["run"],
        sites=tuple(values["sites"]),
        data=Path(values["data"]),
        out=Path(values["out"]),
        reuse=Path(values["reuse"]) if values["reuse"] else None,
        workers=values["workers"],
        superlink=values["superlink"],
        superlink_keys=Path(values["superlink_keys"]) if values["superlink_keys"] else None,
    )
