"""A connection between SuperNode and SuperLink that breaks after a call arrived and before its answer is back.

This is what a site meets when the coordinator, which passes the calls on, is killed at that very moment.
"""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar

import httpx
import pytest
from drill import drill, weights

from fedward_core.engine import Job
from fedward_core.loopback import LOOPBACK
from fedward_core.processes.launching import end_child, start_child
from fedward_server.engines.attempts import AttemptJob, Outcome, Status
from fedward_server.engines.inline import InlineEngine
from fedward_server.engines.subprocess_attempts import SubprocessAttempts
from fedward_server.flower.bundle import build_bundle
from fedward_server.flower.superlink_keeper import SuperLinkKeeper
from fedward_server.runs.folder import RunFolder

pytestmark = pytest.mark.slow

SITES = ("north", "south")
ROUNDS = 3
DEADLINE_S = 400.0
QUICK_S = 60.0  # far below the three minutes, and the deadline, that Flower alone would take; this machine may be busy


class Relay(BaseHTTPRequestHandler):
    """Passes calls on; of those to be cut, it keeps the answer to itself and hangs up."""

    protocol_version = "HTTP/1.1"
    superlink: ClassVar[str]
    to_cut: ClassVar[list[str]]
    cut_at: ClassVar[list[float]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name: value for name, value in self.headers.items() if name.lower() not in ("host", "connection")}
        answer = httpx.post(f"http://{self.superlink}{self.path}", content=body, headers=headers, timeout=60)
        call = self.path.rpartition("/")[2]
        if call in self.to_cut and (answer.content or call != "pull-messages"):
            self.to_cut.remove(call)
            self.cut_at.append(time.time())
            self.close_connection = True
            return
        self.send_response(answer.status_code)
        for name in ("content-type", "content-length"):
            if name in answer.headers:
                self.send_header(name, answer.headers[name])
        self.end_headers()
        self.wfile.write(answer.content)

    def log_message(self, *arguments: Any) -> None:
        """Say nothing."""


@contextmanager
def relay(superlink: str) -> Iterator[str]:
    Relay.superlink, Relay.to_cut, Relay.cut_at = superlink, [], []
    server = ThreadingHTTPServer((LOOPBACK, 0), Relay)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"{LOOPBACK}:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@contextmanager
def agent(site: str, superlink: str, home: Path) -> Iterator[None]:
    home.mkdir()
    values = {"site": site, "superlink": superlink, "data": str(home), "private": str(home / "private")}
    settings = {**values, "home": str(home), "approved": [build_bundle().digest]}
    (home / "agent.json").write_text(json.dumps(settings))
    child = start_child([sys.executable, "-m", "fedward_client.agent", str(home / "agent.json")], log=home / "log")
    yield
    end_child(child, patience_s=30.0)


def finished_rounds(run: RunFolder) -> list[float]:
    lines = run.events.read_text().splitlines(keepends=True) if run.events.exists() else []
    events = [json.loads(line) for line in lines if line.endswith("\n")]
    return [event["time_s"] for event in events if event["kind"] == "round_finished"]


@pytest.mark.parametrize("call", ["push-object", "push-messages", "pull-messages", "pull-object"])
def test_a_call_whose_answer_is_lost_costs_seconds_and_changes_no_digit(call: str, tmp_path: Path) -> None:
    keeper, attempts, run = SuperLinkKeeper(tmp_path / "superlink"), SubprocessAttempts(), RunFolder(tmp_path / "drill")
    with ExitStack() as stack:
        superlink = keeper.ensure()
        stack.callback(keeper.end)
        stack.enter_context(agent("north", superlink, tmp_path / "north"))
        stack.enter_context(agent("south", stack.enter_context(relay(superlink)), tmp_path / "south"))
        values = {"run": "drill", "spec": drill(ROUNDS).model_dump(mode="json"), "sites": SITES, "data": str(tmp_path)}
        place = {"superlink": superlink, "superlink_keys": str(keeper.keys)}
        handle = attempts.start(run, AttemptJob(**values, **place, engine="deployment", workers=1))
        deadline = time.monotonic() + DEADLINE_S
        while attempts.poll(handle) is Status.ALIVE:
            assert time.monotonic() < deadline
            if finished_rounds(run) and not Relay.cut_at and not Relay.to_cut:
                Relay.to_cut.append(call)
            time.sleep(0.05)
    assert attempts.outcome(run) == Outcome(state="completed")
    (cut_at,) = Relay.cut_at
    assert next(ended for ended in finished_rounds(run) if ended > cut_at) - cut_at < QUICK_S
    alone = Job(spec=drill(ROUNDS), run="drill", sites=SITES, data=tmp_path, out=tmp_path / "alone")
    InlineEngine().run(alone, lambda event: None)
    assert weights(run.path) == weights(tmp_path / "alone")
