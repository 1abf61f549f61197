"""The inline engine: coordinator and sites in one process, or sites in forked workers. The fastest."""

from flwr.app import Context, RecordDict

from fedward_core.engine import Job
from fedward_core.errors import SpecError
from fedward_core.events import Listener
from fedward_server.engines.planners import plan_here
from fedward_server.engines.simulation import client_app_of
from fedward_server.flower.exchange import GridExchange
from fedward_server.flower.inline_grid import InlineGrid
from fedward_server.flower.server_app import make_server_app


class InlineEngine:
    """Runs a job in this process."""

    def run(self, job: Job, listen: Listener) -> None:
        """Run, or take up, a job; see :class:`fedward_core.engine.Engine`."""
        _check_threads(job)
        grid = InlineGrid(client_app_of(job), num_nodes=len(job.sites), workers=job.workers)
        nodes = {site: node for node, site in enumerate(job.sites, start=1)}
        ttl_s = job.spec.cohort.round_deadline_s
        app = make_server_app(job, lambda grid: GridExchange(grid, nodes, poll_s=0.0, ttl_s=ttl_s), plan_here, listen)
        context = Context(run_id=1, node_id=0, node_config={}, state=RecordDict(), run_config={})
        try:
            app(grid, context)
        finally:
            grid.close()


def _check_threads(job: Job) -> None:
    """A forked worker cannot use the thread pool of the process it was forked from, and would wait for it for ever."""
    for stage in job.spec.stages:
        if job.workers > 1 and stage.local.threads > 1:
            raise SpecError(
                f"stage '{stage.name}' wants {stage.local.threads} threads a site and the run {job.workers} workers: "
                "set local.threads to 1, or run with one worker"
            )
