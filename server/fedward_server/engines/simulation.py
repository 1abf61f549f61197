"""What the engines that simulate every site share: the ClientApp of the job, made from plain values."""

from typing import Any

from fedward_core.engine import Job
from fedward_core.registry import load

CLIENT_APP = "fedward_client.flower.simulated_site:simulated_client_app"


def client_app_of(job: Job) -> Any:
    """The ClientApp that stands for every site of a job.

    The client is named, not imported: server and client know each other only by the messages between them.
    """
    make = load(CLIENT_APP)
    return make(job.spec.model_dump_json(), job.sites, str(job.data), str(job.out / "sites"))
