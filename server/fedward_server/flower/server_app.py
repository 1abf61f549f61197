"""The ServerApp: the same for every engine."""

from collections.abc import Callable

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from fedward_core.engine import Job
from fedward_core.events import Listener
from fedward_server.rounds.exchange import Exchange
from fedward_server.rounds.planning import Planner
from fedward_server.rounds.run import Run

Connect = Callable[[Grid], Exchange]


def make_server_app(job: Job, connect: Connect, planner: Planner, listen: Listener) -> ServerApp:
    """A ServerApp that carries one job out.

    Args:
        job: What is run.
        connect: Makes the exchange over the engine's grid.
        planner: Gives a stage's plan and first weights.
        listen: Called with every event.
    """
    app = ServerApp()

    @app.main()
    def main(grid: Grid, context: Context) -> None:  # noqa: ARG001 - Flower's signature
        Run(job, connect(grid), planner, listen).run()

    return app
