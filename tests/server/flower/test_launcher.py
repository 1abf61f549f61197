"""What the server's SuperExec starts and what it refuses."""

import os
from pathlib import Path
from unittest.mock import Mock

import httpx
import pytest
from flwr.proto.runtime_pb2 import AcquireTaskRequest, AcquireTaskResponse, PushTaskOutputRequest
from flwr.proto.task_pb2 import Task
from flwr.supercore.constant import TaskType

from fedward_core.engine import Job
from fedward_core.spec import Spec
from fedward_server.flower.connection import Connection
from fedward_server.flower.launcher import ServerAppLauncher

FINISHED = Mock(poll=lambda: 0, pid=2**22 + 1, stdin=None)
SPEC = {
    "name": "drill",
    "dataset": {"name": "simulated", "image_px": 16},
    "stages": [{"name": "only", "method": "rehearsal", "rounds": 1}],
}


class SuperLink:
    """Offers the task of one run."""

    def __init__(self, run_id: int) -> None:
        self.run_id = run_id
        self.requests: list[list[str]] = []
        self.outcomes: list[str] = []
        self.away = False

    def AcquireTask(self, request: AcquireTaskRequest) -> AcquireTaskResponse:
        if self.away:
            raise httpx.ConnectError("away")
        self.requests.append(list(request.supported_task_types))
        return AcquireTaskResponse(task=Task(type=TaskType.SERVER_APP, run_id=self.run_id), token="token")

    def PushTaskOutput(self, request: PushTaskOutputRequest) -> None:
        self.outcomes.append(f"{request.sub_status}: {request.details}")

    def close(self) -> None: ...


def job_in(folder: Path) -> Job:
    return Job(spec=Spec.parse(SPEC), run="drill", sites=("north",), data=folder, out=folder / "out")


def test_a_run_without_a_job_of_ours_is_refused_and_nothing_is_asked_before_there_is_a_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = SuperLink(run_id=7)
    monkeypatch.setattr(Connection, "runtime", lambda self, token=None: link)
    with ServerAppLauncher(Connection(address="127.0.0.1:1"), tmp_path) as launcher:
        launcher.step()
        assert link.requests == []
        launcher.approve(8, job_in(tmp_path))
        launcher.step()
        assert link.requests == [[TaskType.SERVER_APP]]
        assert link.outcomes == ["failed: no job was approved for this run"]
        assert not launcher.ended(8)
        link.away = True
        launcher.step()


def test_launchers_of_one_superlink_hand_tasks_on_to_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = SuperLink(run_id=7)
    monkeypatch.setattr(Connection, "runtime", lambda self, token=None: link)
    started: list[tuple[int, str]] = []

    def start(self: ServerAppLauncher, run_id: int, token: str) -> Mock:
        started.append((run_id, token))
        return FINISHED

    monkeypatch.setattr(ServerAppLauncher, "_start", start)
    (tmp_path / "keys").mkdir()
    connection = Connection(address="127.0.0.1:1", keys=tmp_path / "keys")
    with ServerAppLauncher(connection, tmp_path / "a") as ours, ServerAppLauncher(connection, tmp_path / "b") as theirs:
        ours.approve(8, job_in(tmp_path))
        ours.step()
        assert link.outcomes == []
        handed_on = tmp_path / "keys" / "tasks" / "7.token"
        assert handed_on.stat().st_mode & 0o777 == 0o600
        link.away = True
        theirs.approve(7, job_in(tmp_path))
        theirs.step()
        assert started == [(7, "token")]
        assert not handed_on.exists()

        theirs.try_again(7)
        handed_on.write_text("old")
        os.utime(handed_on, (0, 0))
        theirs.step()
        assert started == [(7, "token")]
        assert not handed_on.exists()


def test_a_run_whose_process_ended_before_it_began_is_taken_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = SuperLink(run_id=7)
    monkeypatch.setattr(Connection, "runtime", lambda self, token=None: link)
    monkeypatch.setattr(ServerAppLauncher, "_start", lambda self, run_id, token: FINISHED)
    with ServerAppLauncher(Connection(address="127.0.0.1:1"), tmp_path) as launcher:
        launcher.approve(7, job_in(tmp_path))
        launcher.step()
        assert launcher.ended(7)
        launcher.step()
        assert len(link.requests) == 1
        launcher.try_again(7)
        assert not launcher.ended(7)
        launcher.step()
        assert len(link.requests) == 2


def test_a_token_is_for_its_owner_and_gone_in_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Connection, "runtime", lambda self, token=None: SuperLink(run_id=7))
    with ServerAppLauncher(Connection(address="127.0.0.1:1"), tmp_path) as launcher:
        launcher.approve(7, job_in(tmp_path))
        launcher.step()
        assert (tmp_path / "7.token").stat().st_mode & 0o777 == 0o600
    assert not list(tmp_path.glob("*.token"))
