"""The ray engine: Flower's simulation runtime, which spreads sites over Ray workers."""

import logging
import threading
from pathlib import Path

from flwr.app import ConfigRecordValues
from flwr.serverapp import Grid
from flwr.simulation import run_simulation

from fedward_core.engine import Job
from fedward_core.errors import RoundError
from fedward_core.events import Listener
from fedward_server.engines.planners import plan_in_process
from fedward_server.engines.simulation import client_app_of
from fedward_server.flower.exchange import GridExchange, find_sites
from fedward_server.flower.server_app import make_server_app

# `run_simulation` announces its removal at every call; the exact pin of flwr says when we follow.
logging.getLogger("flwr").setLevel(logging.ERROR)

POLL_S = 0.02
START_TIMEOUT_S = 300.0


class RayEngine:
    """Runs a job on Ray. The ServerApp runs in a thread of this process, each worker is a Ray actor."""

    def run(self, job: Job, listen: Listener) -> None:
        """Run, or take up, a job; see :class:`fedward_core.engine.Engine`."""
        stop = threading.Event()
        app = make_server_app(job, lambda grid: _connect(grid, job, stop), plan_in_process, listen)
        try:
            run_simulation(app, client_app_of(job), num_supernodes=len(job.sites), backend_config=_resources(job))
        finally:
            stop.set()  # after Ctrl-C the ServerApp's thread is still waiting for answers


def _connect(grid: Grid, job: Job, stop: threading.Event) -> GridExchange:
    nodes = find_sites(grid, job.run, num_sites=len(job.sites), timeout_s=START_TIMEOUT_S, poll_s=POLL_S)
    if missing := set(job.sites) - nodes.keys():
        raise RoundError(f"Ray did not start the nodes of {', '.join(sorted(missing))} within {START_TIMEOUT_S:g} s")
    ttl_s = job.spec.cohort.round_deadline_s
    return GridExchange(grid, nodes, poll_s=POLL_S, ttl_s=ttl_s, stop=stop)


def _resources(job: Job) -> dict[str, dict[str, ConfigRecordValues]]:
    """One CPU for each worker; the GPUs of this machine are divided among the workers."""
    gpus = len(list(Path("/dev").glob("nvidia[0-9]*")))
    return {
        "init_args": {"num_cpus": job.workers, "num_gpus": gpus, "log_to_driver": False},
        "client_resources": {"num_cpus": 1, "num_gpus": gpus / job.workers},
    }
