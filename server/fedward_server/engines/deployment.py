"""The deployment engine: a ServerApp in a process of its own, a SuperLink, and the agents of sites.

The sites are those of a given SuperLink, or else a network is brought up on this machine, for this run alone.
"""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from fedward_core.engine import Job
from fedward_core.errors import RoundError
from fedward_core.events import Event, Listener
from fedward_core.run_folder import EVENTS, RECORD
from fedward_server.engines.attempts import AttemptDiedError
from fedward_server.engines.local_network import local_network
from fedward_server.flower.connection import Connection
from fedward_server.flower.flower_run import FlowerRun
from fedward_server.flower.launcher import ServerAppLauncher
from fedward_server.flower.superlink import SuperLink, SuperLinkError
from fedward_server.runs.folder import read_lines

POLL_S = 0.05
STATUS_EVERY_S = 2.0  # asking makes Flower tidy up finished runs, which locks its database
MAX_STARTS = 3


class DeploymentEngine:
    """Runs a job over processes, at sites that are connected to a SuperLink."""

    def run(self, job: Job, listen: Listener) -> None:
        """Run, or take up, a job; see :class:`fedward_core.engine.Engine`."""
        home = job.out / "network"
        before = _attempts(job)
        with ExitStack() as stack:
            connection, check = _network(job, home, stack)
            run = stack.enter_context(FlowerRun(connection, job, home))
            launcher = stack.enter_context(ServerAppLauncher(connection, home / "server"))
            launcher.approve(run.id, job)
            reader = EventReader(job.out / EVENTS, listen)
            for _ in _looks(launcher, run):
                reader.read()
                check()
            reader.read()
        _check_outcome(job, before)


class EventReader:
    """Passes on the events that another process writes, from now on.

    Args:
        path: The run's events, one a line.
        listen: Called with each.
    """

    def __init__(self, path: Path, listen: Listener) -> None:
        self._path = path
        self._listen = listen
        _, self._position = read_lines(path, 0)  # a last line that is not whole is written anew

    def read(self) -> None:
        """Pass on whole lines that are new."""
        lines, self._position = read_lines(self._path, self._position)
        for line in lines:
            self._listen(Event.model_validate_json(line))


def _network(job: Job, home: Path, stack: ExitStack) -> tuple[Connection, Callable[[], None]]:
    """The SuperLink of a job, and a check that raises when it is lost for good."""
    connection = Connection.of(job)
    if connection is not None:
        return connection, lambda: None  # whoever keeps it restarts it
    connection, superlink = stack.enter_context(local_network(job, home))
    return connection, lambda: _check_alive(superlink)


def _check_alive(superlink: SuperLink) -> None:
    if not superlink.alive:
        raise SuperLinkError("the SuperLink ended: network/superlink.log says why; run again to go on")


def _looks(launcher: ServerAppLauncher, run: FlowerRun) -> Iterator[None]:
    """Look after a run every moment until its ServerApp has ended, or Flower says that the run has."""
    asked, starts = time.monotonic(), 1
    while True:
        launcher.step()
        ended = launcher.ended(run.id)
        if ended or time.monotonic() - asked > STATUS_EVERY_S:
            asked = time.monotonic()
            status = run.status()
            if status is not None and ended and not status.begun and starts < MAX_STARTS:
                launcher.try_again(run.id)
                starts += 1
            elif status is not None and (ended or status.finished):
                return
        yield
        time.sleep(POLL_S)


def _check_outcome(job: Job, before: int) -> None:
    """Flower's word that a run completed is not enough: our own record must say so."""
    if _attempts(job) == before:
        raise RoundError("the ServerApp did not begin: network/server/server-app.log says why")
    record = _record(job)
    if record["state"] == "failed":
        raise RoundError(record["reason"])
    if record["state"] != "completed":
        raise AttemptDiedError("the ServerApp died: network/server/server-app.log may say why; run again to go on")


def _attempts(job: Job) -> int:
    """How many attempts at a job have begun."""
    return int(_record(job)["attempt"])


def _record(job: Job) -> dict[str, Any]:
    path = job.out / RECORD
    if not path.exists():
        return {"state": "", "reason": "", "attempt": 0}
    record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return record
