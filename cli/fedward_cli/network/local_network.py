"""A whole network of hospitals on this machine, each part a process of its own, as it would be between machines.

    coordinator  --  SuperLink
        ^ invitation, enrolment, heartbeats, weights
    three agents, each with a SuperNode and client apps

<home>/coordinator/         the coordinator's home
<home>/agents/<site>/       each agent's home
<home>/admin.key            the administrator's key
<home>/*.log                what each process says

It speaks plain HTTP on loopback. What its sites approve is marked as simulated, and has no force elsewhere.
"""

import json
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import yaml

from fedward_cli.network.coordinator import Coordinator, UnreachableError
from fedward_cli.network.sites import Site
from fedward_client.agent.approvals import Approvals
from fedward_client.agent.enrolment import enrol
from fedward_client.agent.home import AgentHome
from fedward_client.agent.key import SiteKey
from fedward_client.agent.membership import read_enrolled
from fedward_core.cards import DataKind
from fedward_core.errors import FedwardError
from fedward_core.loopback import LOOPBACK, free_port
from fedward_core.processes.launching import Child, end_child, start_child
from fedward_server.flower.bundle import build_bundle
from fedward_server.flower.control import FlowerControl
from fedward_server.flower.superlink_keeper import StartedSuperLink

STUDY = "hospitals"
HEARTBEAT_S = 0.5  # so that a run on one machine does not wait for sites to answer
START_TIMEOUT_S = 120.0  # three agents import torch at once, on few cores
POLL_S = 0.2
LAST_LINES = 8  # of a log: a panel with its frame, or the end of a trace
PATIENCE_S = 30.0  # the coordinator ends runs, attempts and its SuperLink in order


class NetworkError(FedwardError):
    """A part of the network did not start, or has ended."""


class Network:
    """A network that runs. :func:`network` makes one.

    Attributes:
        url: Where the coordinator answers.
        key: The administrator's key.
        children: The processes that this one has started, by what they are.
    """

    def __init__(self, home: Path, port: int) -> None:
        self._home = home
        self._port = port
        self.url = f"http://{LOOPBACK}:{port}"
        self.key = ""
        self.children: dict[str, Child] = {}

    @property
    def coordinator(self) -> Coordinator:
        """Speaks to the coordinator as its administrator."""
        return Coordinator(self.url, self.key)

    @property
    def processes(self) -> dict[str, int]:
        """Process ids by what they are, the SuperLink's among them."""
        own = {name: child.pid for name, child in self.children.items()}
        return {"coordinator": own.pop("coordinator"), "SuperLink": self._superlink.process.pid, **own}

    def nodes(self) -> tuple[str, ...]:
        """The ids of the nodes that are connected to the SuperLink."""
        with FlowerControl(self._superlink.connection(self._superlink_home)) as control:
            return tuple(str(node.id) for node in control.nodes() if node.online)

    def flower_run(self, run: str) -> str:
        """The id that a run has at the SuperLink; empty before its attempt has started."""
        record = self._home / "coordinator" / "runs" / run / "network" / "flower-run.json"
        return str(json.loads(record.read_text(encoding="utf-8"))["run"]) if record.exists() else ""

    def check(self) -> None:
        """Make sure that every process runs.

        Raises:
            NetworkError: One has ended.
        """
        for name, child in self.children.items():
            if child.poll() is not None:
                raise NetworkError(f"the {name} has ended. The end of '{self._log(name)}':\n{self._last_words(name)}")

    def start_coordinator(self) -> None:
        """Start the coordinator, and wait until it answers.

        Raises:
            NetworkError: Another program uses its port, or it has ended.
        """
        self._refuse_port_in_use()
        key_file = self._home / "admin.key"
        place = ["--home", str(self._home / "coordinator"), "--port", str(self._port)]
        self._start("coordinator", ["server", *place, "--key-file", str(key_file), "--heartbeat", str(HEARTBEAT_S)])
        self._wait(key_file.exists, "the coordinator has not started")
        self.key = key_file.read_text(encoding="utf-8").strip()
        self._wait(self._answers, "the coordinator does not answer")

    def _refuse_port_in_use(self) -> None:
        """Whatever else listens there, perhaps another coordinator, would be taken for the one that is started."""
        try:
            socket.create_server((LOOPBACK, self._port)).close()
        except OSError as error:
            raise NetworkError(
                f"port {self._port} of this machine cannot be had ({error.strerror}): end the program that uses it, or "
                "choose another port, and another folder too where hospitals have enrolled at this one"
            ) from None

    def enrol(self, site: Site, dataset: str, kind: DataKind) -> None:
        """Invite and enrol a hospital, unless an earlier start has, give it a policy, and let it approve.

        Raises:
            NetworkError: The earlier start was at another port.
        """
        home = self._agent_home(site.name)
        if not home.membership.exists():
            invitation = self.coordinator.post("/sites/invitations", {"site": site.name})
            enrol(home, self.url, invitation["token"])
        elif (known := read_enrolled(home).url) != self.url:
            raise NetworkError(
                f"the hospitals in '{self._home}' enrolled at {known}, and the coordinator is at {self.url}: "
                "start it at that port, or choose another folder"
            )
        offered = {"path": str(site.path.absolute()), "kind": str(kind)}
        offer = {"datasets": {dataset: offered}, "simulated": True}
        home.policy.write_text(f"# A hospital of a demonstration.\n{yaml.safe_dump(offer)}", encoding="utf-8")
        Approvals(home.approvals, SiteKey.read(home.key)).approve(build_bundle().digest, simulated=True)

    def start_agent(self, site: str) -> None:
        """Start a hospital's agent."""
        self._start(f"agent of {site}", ["agent", "run", "--home", str(self._agent_home(site).path)])

    def wait_for_sites(self, count: int) -> None:
        """Wait until so many sites are connected and have told of their datasets."""
        self._wait(lambda: len(self._present()) >= count, "not every agent has reported")

    @property
    def _superlink_home(self) -> Path:
        return self._home / "coordinator" / "superlink"

    @property
    def _superlink(self) -> StartedSuperLink:
        started = StartedSuperLink.read(self._superlink_home)
        assert started is not None, "the coordinator starts it before a site has enrolled"
        return started

    def _present(self) -> list[Any]:
        return [site for site in self.coordinator.get("/sites") if site["online"] and site["datasets"]]

    def _answers(self) -> bool:
        try:
            self.coordinator.get("/health")
        except UnreachableError:
            return False
        return True

    def _start(self, name: str, arguments: list[str]) -> None:
        command = [sys.executable, "-m", "fedward_cli", *arguments]
        self.children[name] = start_child(command, log=self._log(name))

    def _log(self, name: str) -> Path:
        return self._home / f"{name.replace(' ', '-')}.log"

    def _last_words(self, name: str) -> str:
        """What a process said last."""
        said = self._log(name).read_text(encoding="utf-8", errors="replace") if self._log(name).exists() else ""
        return "\n".join(said.splitlines()[-LAST_LINES:])

    def _agent_home(self, site: str) -> AgentHome:
        return AgentHome((self._home / "agents" / site).absolute())

    def _wait(self, holds: Callable[[], bool], otherwise: str) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not holds():
            self.check()
            if time.monotonic() > deadline:
                raise NetworkError(f"{otherwise}: the logs in '{self._home}' say why")
            time.sleep(POLL_S)


@contextmanager
def network(
    home: Path, sites: tuple[Site, ...], *, dataset: str, kind: DataKind = DataKind.IMAGE, port: int = 0
) -> Iterator[Network]:
    """A network that runs while the block lasts; what an earlier one left in its folder is taken up.

    Args:
        home: Its folder.
        sites: Its hospitals.
        dataset: The name under which each offers its data.
        kind: What one example of these is.
        port: The coordinator's port; 0 for the one of an earlier start, or any that is free.

    Raises:
        FedwardError: A part did not start; its log says why.
    """
    home.mkdir(parents=True, exist_ok=True)
    made = Network(home, port or _port_of(home))
    with ExitStack() as stack:
        stack.callback(_end, made.children)
        made.start_coordinator()
        for site in sites:
            made.enrol(site, dataset, kind)
            made.start_agent(site.name)
        made.wait_for_sites(len(sites))
        study = {"name": STUDY, "sites": [site.name for site in sites], "enrolled": True}
        made.coordinator.post("/studies", study)
        yield made


def _end(children: dict[str, Child]) -> None:
    """End agents first, and the coordinator with its SuperLink last."""
    for child in reversed(children.values()):
        end_child(child, patience_s=PATIENCE_S)


def _port_of(home: Path) -> int:
    """The port of an earlier start, which the enrolled agents know; otherwise one that is free now."""
    path = home / "port"
    if not path.exists():
        path.write_text(f"{free_port()}\n", encoding="utf-8")
    return int(path.read_text(encoding="utf-8"))
