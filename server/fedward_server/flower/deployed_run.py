"""The ServerApp behind a SuperLink: what the app bundle names. Its job lies in a file that the launcher names."""

import os
from pathlib import Path

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from fedward_server.engines.planners import plan_in_process
from fedward_server.flower.deployed_exchange import DeployedExchange
from fedward_server.flower.job_file import JOB_FILE, read_job
from fedward_server.flower.patient_grid import PatientGrid
from fedward_server.flower.server_app import make_server_app

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Carry the job out. Its events go to the run's folder, where whoever started it reads them."""
    job = read_job(Path(os.environ[JOB_FILE]))
    make_server_app(job, lambda grid: DeployedExchange(PatientGrid(grid), job), plan_in_process, lambda _: None)(
        grid, context
    )
