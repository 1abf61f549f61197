"""One Flower run for an attempt: nothing is left running, by it or by the attempt before it."""

import json
from pathlib import Path

import pytest
from flwr.app import UserConfig

from fedward_core.engine import Job
from fedward_core.spec import Spec
from fedward_server.flower import flower_run
from fedward_server.flower.connection import Connection
from fedward_server.flower.control import FlowerControl, FlowerStatus, RunRefusedError, SuperLinkAwayError
from fedward_server.flower.flower_run import FlowerRun

SPEC = {"name": "drill", "dataset": {"name": "none"}, "stages": [{"name": "only", "method": "rehearsal", "rounds": 1}]}
BIG = 2**64 - 3


class SuperLink:
    """Knows which runs are under way, and may be away for some calls."""

    def __init__(self) -> None:
        self.running: set[int] = set()
        self.away = 0

    def start_run(self, bundle: bytes, config: UserConfig) -> int:
        self._answer()
        run = BIG + len(self.running)
        self.running.add(run)
        return run

    def stop_run(self, run: int) -> None:
        self._answer()
        if run not in self.running:
            raise RunRefusedError("unknown")
        self.running.remove(run)

    def status(self, run: int) -> FlowerStatus:
        self._answer()
        return FlowerStatus(status="running" if run in self.running else "finished", outcome="", details="")

    def _answer(self) -> None:
        if self.away:
            self.away -= 1
            raise SuperLinkAwayError("away")


@pytest.fixture
def link(monkeypatch: pytest.MonkeyPatch) -> SuperLink:
    made = SuperLink()
    for name in ("start_run", "stop_run", "status"):
        monkeypatch.setattr(FlowerControl, name, lambda self, *args, name=name: getattr(made, name)(*args))
    monkeypatch.setattr(flower_run, "PAUSE_S", 0.0)
    return made


def run_in(folder: Path, address: str = "127.0.0.1:1") -> FlowerRun:
    job = Job(spec=Spec.parse(SPEC), run="drill", sites=("north",), data=folder, out=folder)
    return FlowerRun(Connection(address=address), job, folder)


def test_a_run_is_stopped_whichever_way_the_attempt_ends(tmp_path: Path, link: SuperLink) -> None:
    run = run_in(tmp_path)
    run.__enter__()
    assert link.running == {run.id}
    run.__exit__(KeyboardInterrupt, None, None)
    assert link.running == set()


def test_what_an_attempt_that_was_killed_left_running_is_stopped_first(tmp_path: Path, link: SuperLink) -> None:
    left = run_in(tmp_path)
    left.__enter__()
    assert json.loads((tmp_path / "flower-run.json").read_text())["run"] == str(BIG)
    link.away = 3
    with run_in(tmp_path) as run:
        assert link.running == {run.id}
    with run_in(tmp_path):
        pass
    left._control.close()


def test_a_run_of_another_superlink_is_left_alone(tmp_path: Path, link: SuperLink) -> None:
    left = run_in(tmp_path)
    left.__enter__()
    with run_in(tmp_path, "127.0.0.1:2"):
        assert len(link.running) == 2
    left._control.close()


def test_a_superlink_that_stays_away_is_an_error_in_the_end(
    tmp_path: Path, link: SuperLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flower_run, "AWAY_S", 0.0)
    link.away = 1000
    with pytest.raises(SuperLinkAwayError):
        run_in(tmp_path).__enter__()
