"""The deployment engine: a SuperLink, one agent for each site and a ServerApp, each a process of its own on loopback.

The same processes and messages as between hospitals, on one machine: for rehearsals and demonstrations.
"""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from fedward_core.engine import Job
from fedward_core.errors import RoundError
from fedward_core.events import Event, Listener
from fedward_core.processes import end_child, start_child
from fedward_server.flower.bundle import build_bundle, run_config
from fedward_server.flower.connection import Connection
from fedward_server.flower.control import FlowerControl, SuperLinkAwayError
from fedward_server.flower.launcher import ServerAppLauncher
from fedward_server.flower.superlink import SuperLink, SuperLinkError

AGENT = "fedward_client.agent"  # named, not imported: server and client know each other only by their messages
POLL_S = 0.05
STATUS_EVERY_S = 2.0  # asking makes Flower tidy up finished runs, which locks its database


class DeploymentEngine:
    """Runs a job over a network of processes on this machine."""

    def run(self, job: Job, listen: Listener) -> None:
        """Run, or take up, a job; see :class:`fedward_core.engine.Engine`."""
        home = job.out / "network"
        bundle = build_bundle()
        with ExitStack() as stack:
            state = home / f"superlink-{time.time_ns()}"
            superlink = stack.enter_context(SuperLink(state, log=home / "superlink.log"))
            for site in job.sites:
                stack.enter_context(_agent(job, site, superlink.address, bundle.digest))
            connection = Connection(address=superlink.address)
            launcher = stack.enter_context(ServerAppLauncher(connection, home / "server"))
            control = stack.enter_context(FlowerControl(connection))
            reader = EventReader(job.out / "events.jsonl", listen)
            run_id = control.start_run(bundle.content, run_config(job))
            launcher.approve(run_id, job)
            for _ in _looks(launcher, control, run_id):
                reader.read()
                if not superlink.alive:
                    raise SuperLinkError("the SuperLink ended: network/superlink.log says why; run again to go on")
            reader.read()
        _check_outcome(job)


class EventReader:
    """Passes on the events that another process writes, from now on.

    Args:
        path: The run's events, one a line.
        listen: Called with each.
    """

    def __init__(self, path: Path, listen: Listener) -> None:
        self._path = path
        self._listen = listen
        self._position = path.stat().st_size if path.exists() else 0

    def read(self) -> None:
        """Pass on whole lines that are new."""
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._position)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                self._position += len(line)
                self._listen(Event.model_validate_json(line))


def _looks(launcher: ServerAppLauncher, control: FlowerControl, run_id: int) -> Iterator[None]:
    """Look after a run every moment until its ServerApp has ended, or Flower says that the run has."""
    asked = time.monotonic()
    while not launcher.ended(run_id):
        launcher.step()
        if time.monotonic() - asked > STATUS_EVERY_S:
            asked = time.monotonic()
            if _finished(control, run_id):
                return
        yield
        time.sleep(POLL_S)


def _finished(control: FlowerControl, run_id: int) -> bool:
    try:
        return control.status(run_id).finished
    except SuperLinkAwayError:
        return False


def _check_outcome(job: Job) -> None:
    """Flower's word that a run completed is not enough: our own record must say so."""
    path = job.out / "run.json"
    record = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"state": "failed", "reason": ""}
    if record["state"] != "completed":
        raise RoundError(record["reason"] or "the ServerApp did not begin: network/server/server-app.log says why")


@contextmanager
def _agent(job: Job, site: str, superlink: str, digest: str) -> Iterator[None]:
    """A site's agent, with the settings that a hospital would write."""
    home = job.out / "network" / site
    home.mkdir(parents=True, exist_ok=True)
    settings = {
        "site": site,
        "superlink": superlink,
        "data": str(job.data.absolute()),
        "private": str((job.out / "sites" / site).absolute()),
        "home": str(home.absolute()),
        "approved": [digest],
    }
    path = home / "agent.json"
    path.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    child = start_child([sys.executable, "-m", AGENT, str(path)], log=home / "agent.log")
    try:
        yield
    finally:
        end_child(child, patience_s=30.0)
