"""A coordinator of its own for each test, on a free port of this machine, with everything that it starts."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from waiting import wait_until

from fedward_core.processes.process import Process
from fedward_server.sites.versions import our_versions
from fedward_server.tls import TLSFiles

DEADLINE_S = 120.0
SERVE = """
import sys
from pathlib import Path
from fedward_server.api.app import create_app
from fedward_server.api.serving import listening, serve
from fedward_server.database.address import read_address
from fedward_server.home import Home
from fedward_server.tls import TLSFiles

class NoSuperLink:
    keys = Path("/nowhere")
    def ensure(self): return "127.0.0.1:9"
    def register(self, site, public_key_pem): return "1"
    def end(self): pass

home = Home(Path(sys.argv[1]))
keeper = NoSuperLink() if sys.argv[2] == "alone" else None
with listening("127.0.0.1", 0) as listener, home.claimed():
    print(listener.getsockname()[1], flush=True)
    database = read_address(sys.argv[3]) if sys.argv[3] else None
    files = dict(zip(("certificate", "key", "authority"), map(Path, sys.argv[4:])))
    tls = TLSFiles(**files) if files else None
    app = create_app(home, keeper=keeper, database=database, tls=tls, tell_key=lambda key: print(key, flush=True))
    serve(app, listener, tls=tls)
"""

# Of a pair that was made for tests, and whose private half nobody has.
PUBLIC_KEY = """\
-----BEGIN PUBLIC KEY-----
MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAED+a3v6UGacs/0URu0FZjTLdtGlclAVT0
CFi7BwFi3kCMZlwwJA5W1BRC7d7uLrET0P2fbjufleuqZDrenesDouodB9icWpbQ
x0nsr5t/7OuQ0VuOtGUi7IFi/HA/ULj1
-----END PUBLIC KEY-----
"""


@dataclass
class Coordinator:
    """A coordinator in a process of its own.

    Attributes:
        home: Its folder.
        networked: Whether it keeps a SuperLink, which takes seconds to start.
        database: The address of a PostgreSQL database; empty for a file in the home folder.
        tls: The files of its port, if it has TLS.
        keys: One for each role.
        process: The process; None while there is none.
        url: Where the API answers.
    """

    home: Path
    networked: bool = False
    database: str = ""
    tls: TLSFiles | None = None
    keys: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[str] | None = None
    url: str = ""

    @property
    def command(self) -> list[str]:
        """What starts it."""
        kind = "networked" if self.networked else "alone"
        files = [str(file) for file in (self.tls.certificate, self.tls.key, self.tls.authority)] if self.tls else []
        return [sys.executable, "-c", SERVE, str(self.home), kind, self.database, *files]

    def start(self) -> None:
        self.process = subprocess.Popen(self.command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.url = f"{'https' if self.tls else 'http'}://127.0.0.1:{int(self.process.stdout.readline())}/api/v1"
        if not self.keys:
            self.keys["admin"] = self.process.stdout.readline().strip()
            for role in ("reader", "researcher"):
                made = self.call("POST", "/keys", json={"name": role, "role": role})
                self.keys[role] = made.json()["key"]
            self.keys["agent"] = self.enrol("far")

    def kill(self) -> None:
        """As a power cut would: nothing can be cleared up."""
        self._end(signal.SIGKILL)

    def close(self) -> None:
        self._end(signal.SIGTERM)

    def call(self, method: str, path: str, *, role: str | None = "admin", **arguments: Any) -> httpx.Response:
        headers = arguments.pop("headers", {})
        if role is not None:
            headers = {"Authorization": f"Bearer {self.keys[role]}", **headers}
        # Plain HTTP: certificates, which take a while to read, are of no use here.
        return httpx.request(method, self.url + path, headers=headers, timeout=DEADLINE_S, verify=False, **arguments)

    def enrol(self, site: str) -> str:
        """Invite and enrol a site, and give its key."""
        token = self.call("POST", "/sites/invitations", json={"site": site}).json()["token"]
        body = {"token": token, "public_key": PUBLIC_KEY, "versions": our_versions().model_dump()}
        answer = self.call("POST", "/fleet/enrolments", role=None, json=body)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["key"])

    def submit(self, run: str, rounds: int, **request: Any) -> Any:
        """Submit a rehearsal to a study without data, which is made if need be."""
        self.call("POST", "/studies", json={"name": "drill", "sites": ["hill", "north", "river"]})
        body = {"study": "drill", "spec": rehearsal(rounds), "run": run, **request}
        answer = self.call("POST", "/runs", json=body)
        assert answer.is_success, answer.text
        return answer.json()

    def run(self, run: str) -> Any:
        return self.call("GET", f"/runs/{run}").json()

    def kinds(self, run: str) -> list[str]:
        return [event["kind"] for event in self.call("GET", f"/runs/{run}/events?limit=10000").json()]

    def wait(self, run: str, state: str) -> Any:
        wait_until(lambda: self.run(run)["state"] in {state, "failed"})
        found = self.run(run)
        assert found["state"] == state, found
        return found

    def _end(self, number: int) -> None:
        assert self.process is not None
        assert self.process.stdout is not None
        self.process.send_signal(number)
        self.process.wait(timeout=DEADLINE_S)
        self.process.stdout.close()
        self.process = None


def rehearsal(rounds: int) -> dict[str, Any]:
    """A run that reads no images and trains nothing."""
    stage = {"name": "only", "method": "rehearsal", "rounds": rounds}
    return {"name": "drill", "seed": 7, "dataset": {"name": "none"}, "evaluate": {"every": 50}, "stages": [stage]}


@pytest.fixture
def coordinator(tmp_path: Path) -> Iterator[Coordinator]:
    made = Coordinator(tmp_path / "home")
    made.start()
    yield made
    if made.process is None:
        made.start()  # it ends the attempts that a killed one left behind
    made.close()


@pytest.fixture
def coordinator_at() -> type[Coordinator]:
    """Coordinators in a home folder of the test's choice, which the test starts and ends."""
    return Coordinator


@pytest.fixture(scope="session")
def shared_coordinator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Coordinator]:
    """One for tests that do not disturb each other: each has runs of its own name."""
    made = Coordinator(tmp_path_factory.mktemp("coordinator") / "home")
    made.start()
    yield made
    made.close()


@pytest.fixture
def attempt_of(coordinator: Coordinator) -> Callable[[str], int]:
    """The process id of the attempt of a run."""

    def read(run: str) -> int:
        text = (coordinator.home / "runs" / run / "attempt.json").read_text()
        return Process.model_validate_json(text).pid

    return read


@pytest.fixture(scope="session")
def drill() -> Callable[[int], dict[str, Any]]:
    """Specs of rehearsals."""
    return rehearsal


@pytest.fixture
def end() -> Callable[[int], None]:
    """Kill a process at once."""
    return lambda pid: os.kill(pid, signal.SIGKILL)
