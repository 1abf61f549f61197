"""The ServerApp behind a SuperLink: what the app bundle names. Its job lies in a file that the launcher names."""

import os
from functools import partial
from pathlib import Path
from typing import Any

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp
from flwr.superlink.grid import http_grid

from fedward_core.engine import Job
from fedward_server.flower.deployed_exchange import DeployedExchange
from fedward_server.flower.job_file import JOB_FILE, read_job
from fedward_server.flower.patient_grid import PatientGrid
from fedward_server.flower.server_app import make_server_app
from fedward_server.rounds.site_planning import plan_at_sites

PULL = "pull_objects"
# Flower waits 1 s, and later longer, for a piece of a message that is still on its way. Decided here: a small message
# is whole within milliseconds, and a look at a large one every second costs little.
PAUSES = {"initial_backoff": 0.05, "backoff_cap": 1.0, "max_tries_per_object": None}

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Carry the job out. Its events go to the run's folder, where whoever started it reads them."""
    job = read_job(Path(os.environ[JOB_FILE]))
    make_server_app(job, partial(connect, job=job), plan_at_sites, lambda _: None)(grid, context)


def connect(grid: Grid, job: Job) -> DeployedExchange:
    """The exchange over a SuperLink's grid, which waits for pieces of replies as long as a round lasts."""
    patient = PatientGrid(grid)
    flowers = vars(http_grid)[PULL]

    def pull(**given: Any) -> dict[str, bytes]:
        pieces: dict[str, bytes] = flowers(**given, **PAUSES, max_time=patient.piece_patience_s)
        return pieces

    vars(http_grid)[PULL] = pull
    return DeployedExchange(patient, job, bound=patient.wait_for_pieces_until)
