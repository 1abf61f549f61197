"""Any process of a deployed run is killed at a random moment: the run ends under its id, with undisturbed weights.

Each test prints when the next sign of life came and when the next round was over, counted from the kill.
"""

import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from drill import drill, weights

from fedward_core.engine import Job
from fedward_core.processes.launching import Child, end_child, start_child
from fedward_core.processes.process import Process
from fedward_server.engines.attempts import AttemptJob, Handle, Outcome, Status
from fedward_server.engines.inline import InlineEngine
from fedward_server.engines.subprocess_attempts import SubprocessAttempts
from fedward_server.flower.bundle import build_bundle
from fedward_server.flower.superlink_keeper import SuperLinkKeeper
from fedward_server.runs.folder import RunFolder

pytestmark = pytest.mark.slow

SITES = ("north", "south")
ROUNDS = 6
DEADLINE_S = 400.0


@dataclass
class Network:
    """A SuperLink, two agents, and one run with whoever looks after it."""

    home: Path
    agents: dict[str, Child] = field(default_factory=dict)
    handle: Handle | None = None
    starts: int = 0

    def __post_init__(self) -> None:
        self.keeper = SuperLinkKeeper(self.home / "superlink")
        self.run = RunFolder(self.home / "runs" / "drill")
        self.attempts = SubprocessAttempts()
        self.address = self.keeper.ensure()
        for site in SITES:
            self.start_agent(site)

    def start_agent(self, site: str) -> None:
        home = self.home / site
        values = {"site": site, "superlink": self.address, "data": str(self.home / "data")}
        values |= {"private": str(home / "private"), "home": str(home)}
        home.mkdir(parents=True, exist_ok=True)
        (home / "agent.json").write_text(json.dumps({**values, "approved": [build_bundle().digest]}))
        command = [sys.executable, "-m", "fedward_client.agent", str(home / "agent.json")]
        self.agents[site] = start_child(command, log=home / "agent.log")

    def look(self) -> Outcome | None:
        """What a coordinator does every moment: keep the SuperLink, and start a new attempt when one has died."""
        self.keeper.ensure()
        if self.handle is not None and self.attempts.poll(self.handle) is Status.ALIVE:
            return None
        outcome = self.attempts.outcome(self.run) if self.handle else None
        if outcome is None:
            self.starts += 1
            self.handle = self.attempts.start(self.run, self.job)
        return outcome

    @property
    def job(self) -> AttemptJob:
        return AttemptJob(
            run="drill",
            spec=drill(ROUNDS).model_dump(mode="json"),
            sites=SITES,
            data=str(self.home / "data"),
            engine="deployment",
            workers=1,
            superlink=self.address,
            superlink_keys=str(self.keeper.keys),
        )

    def events(self) -> list[dict[str, object]]:
        if not self.run.events.exists():
            return []
        return [json.loads(line) for line in self.run.events.read_text().splitlines(keepends=True) if line[-1] == "\n"]

    def rounds(self) -> list[float]:
        """When each round ended."""
        return [float(str(event["time_s"])) for event in self.events() if event["kind"] == "round_finished"]

    def until(self, holds: Callable[[], bool]) -> Outcome | None:
        deadline = time.monotonic() + DEADLINE_S
        outcome = None
        while outcome is None and not holds():
            assert time.monotonic() < deadline, "it did not happen in time"
            outcome = self.look()
            time.sleep(0.05)
        return outcome

    def close(self) -> None:
        if self.handle is not None:
            self.attempts.stop(self.handle)
            while self.attempts.poll(self.handle) is Status.ALIVE:
                time.sleep(0.05)
        for agent in self.agents.values():
            end_child(agent, patience_s=30.0)
        self.keeper.end()


@pytest.fixture
def network(tmp_path: Path) -> Iterator[Network]:
    (tmp_path / "data").mkdir()
    made = Network(tmp_path)
    yield made
    made.close()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("undisturbed")
    InlineEngine().run(
        Job(spec=drill(ROUNDS), run="drill", sites=SITES, data=folder, out=folder / "out"), lambda event: None
    )
    return weights(folder / "out")


def processes_naming(word: str, program: str) -> list[int]:
    """Processes with a program in their command line, and a word in it or in their environment."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            command = (process / "cmdline").read_bytes()
            if process.name.isdigit() and program.encode() in command:
                found += [int(process.name)] if word.encode() in command + (process / "environ").read_bytes() else []
        except (OSError, ValueError):
            continue
    return found


def kill_server_app(network: Network) -> bool:
    pids = processes_naming(str(network.run.path), "flwr-serverapp")
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    return bool(pids)


def kill_superlink(network: Network) -> bool:
    kept = network.keeper._kept()
    assert kept is not None
    kept.process.signal(signal.SIGKILL)
    return True


def kill_agent(network: Network) -> bool:
    agent = network.agents["south"]
    agent.kill()
    end_child(agent)
    time.sleep(1.0)
    network.start_agent("south")
    return True


def kill_client_app(network: Network) -> bool:
    for note in (network.home / "south" / "work").glob("[0-9]*.json"):
        try:
            values = json.loads(note.read_text())
        except (OSError, ValueError):
            continue
        process = Process.model_validate(values["process"])
        if values["letter"] and process.is_alive:
            process.signal(signal.SIGKILL)
            return note.exists()
    return False


def kill_attempt(network: Network) -> bool:
    assert network.handle is not None
    Process.model_validate(network.handle).signal(signal.SIGKILL)
    return True


KILLS = {
    "server app": kill_server_app,
    "superlink": kill_superlink,
    "agent": kill_agent,
    "client app": kill_client_app,
    "attempt": kill_attempt,
}


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("kind", KILLS)
def test_a_killed_process_changes_no_digit_of_the_result(
    kind: str, seed: int, network: Network, undisturbed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    chance = random.Random(f"{kind} {seed}")
    after = chance.randrange(1, ROUNDS - 1)
    network.until(lambda: len(network.rounds()) >= after)
    moment = time.time() + chance.random()
    network.until(lambda: time.time() > moment)
    network.until(lambda: KILLS[kind](network))
    killed, seen, finished = time.time(), len(network.events()), len(network.rounds())
    network.until(lambda: len(network.events()) > seen)
    noticed = time.time() - killed
    outcome = network.until(lambda: len(network.rounds()) > finished)
    recovered = time.time() - killed
    outcome = outcome or network.until(lambda: False)
    with capsys.disabled():
        told = f"next event {noticed:.1f} s, next round {recovered:.1f} s, {network.starts} starts"
        sys.stdout.write(f"\n{kind}, seed {seed}: {told}\n")
    assert outcome == Outcome(state="completed")
    assert weights(network.run.path) == undisturbed
