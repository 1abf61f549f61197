"""A bench for the agent: a home folder as enrolment leaves it, and a coordinator that follows a script."""

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from fedward_client.agent import counting
from fedward_client.agent.approvals import Approvals
from fedward_client.agent.home import AgentHome
from fedward_client.agent.key import SiteKey
from fedward_client.agent.membership import Enrolled, write_enrolled
from fedward_core.fleet_messages import Membership, Proposal
from fedward_core.spec import Spec

APP = "a" * 64


@dataclass
class Script:
    """What a coordinator on loopback is told to answer, and what it has heard.

    Attributes:
        heard: Method, path, Authorization header and body of each request, in order.
        answers: For each path, the status and the body; a path without one is answered with 204.
        port: Where it listens; 0 until it is started.
    """

    heard: list[tuple[str, str, str, Any]] = field(default_factory=list)
    answers: dict[str, tuple[int, Any]] = field(default_factory=dict)
    port: int = 0
    _server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def bodies(self, path: str) -> list[Any]:
        return [body for _, heard, _, body in self.heard if heard == path]

    def start(self) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), _handler(self))
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}).start()

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None


def _handler(script: Script) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            path = self.path.removeprefix("/api/v1/fleet/")
            script.heard.append((self.command, path, self.headers.get("Authorization", ""), body))
            self.answer(path)

        def answer(self, path: str) -> None:
            status, answer = script.answers.get(path, (204, None))
            content = b"" if answer is None else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def do_PUT(self) -> None:
            self.do_POST()

        def do_GET(self) -> None:
            self.answer(self.path)

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None: ...

    return Handler


@pytest.fixture(autouse=True)
def _patience_with_a_busy_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A report finds the cards made, unless a test is about reports that do not wait for them."""
    monkeypatch.setattr(counting, "PATIENCE_S", 600.0)


@pytest.fixture
def script() -> Iterator[Script]:
    """A coordinator that is up, asks for nothing, and enrols whoever comes."""
    script = Script()
    script.answers["heartbeats"] = (200, {"interval_s": 5.0})
    membership = {"site": "north", "key": "fw_secret", "fleet": ":9092", "node_authentication": False}
    script.answers["enrolments"] = (201, membership)
    script.start()
    yield script
    script.stop()


@pytest.fixture
def home(tmp_path: Path, script: Script) -> AgentHome:
    """The home folder of an enrolled site that offers nothing and has approved one app."""
    home = AgentHome(tmp_path / "agent")
    home.make()
    key = SiteKey.make(home.key)
    membership = Membership(site="north", key="fw_secret", fleet="127.0.0.1:1", node_authentication=False)
    write_enrolled(home, Enrolled(url=script.url, membership=membership))
    home.policy.write_text("max_rounds: 10\n")
    Approvals(home.approvals, key).approve(APP, simulated=False)
    return home


@pytest.fixture
def propose() -> Callable[..., Proposal]:
    """Makes proposals of a small spec; a stage's values, the dataset and the cohort can be changed."""

    def make(*, run: str = "drill-1", study: str = "chest", app: str = APP, **changes: Any) -> Proposal:
        stage = {"name": "only", "method": "rehearsal", "rounds": 3, **changes.pop("stage", {})}
        dataset = {"image_px": 16, **changes.pop("dataset", {"name": "simulated"})}
        spec = Spec.parse(
            {"name": "drill", "dataset": dataset, "cohort": {"min_sites": 2}, "stages": [stage], **changes}
        )
        values = spec.model_dump(mode="json")
        return Proposal(run=run, study=study, spec=values, spec_digest=spec.digest(), app=app, expires_s=2e9)

    return make
