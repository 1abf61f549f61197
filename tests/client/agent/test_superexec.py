"""What the site's SuperExec takes and what it refuses."""

from pathlib import Path

import httpx
import pytest
from flwr.proto.runtime_pb2 import AcquireTaskRequest, AcquireTaskResponse, PushTaskOutputRequest
from flwr.proto.task_pb2 import Task
from flwr.supercore.constant import TaskType

from fedward_client.agent.settings import AgentSettings
from fedward_client.flower.superexec import SuperExec

APPROVED = "a" * 64


class Node:
    """A SuperNode that offers one task, whatever it is asked for."""

    def __init__(self, task: Task | None) -> None:
        self.task = task
        self.asked_for: list[str] = []
        self.outcomes: list[str] = []

    def AcquireTask(self, request: AcquireTaskRequest) -> AcquireTaskResponse:
        self.asked_for = list(request.supported_task_types)
        return AcquireTaskResponse(task=self.task, token="token") if self.task else AcquireTaskResponse()

    def PushTaskOutput(self, request: PushTaskOutputRequest) -> None:
        self.outcomes.append(f"{request.sub_status}: {request.details}")

    def close(self) -> None: ...


class Started:
    """A launcher that only notes."""

    def __init__(self) -> None:
        self.tokens: list[str] = []

    def start(self, address: str, token: str) -> None:
        self.tokens.append(token)


def superexec_over(node: Node, launcher: Started, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SuperExec:
    settings = AgentSettings(
        site="north",
        superlink="127.0.0.1:1",
        data=tmp_path,
        private=tmp_path,
        home=tmp_path,
        approved=frozenset({APPROVED}),
    )
    monkeypatch.setattr(SuperExec, "_connect", lambda self, *interceptors: node)
    return SuperExec(settings, "127.0.0.1:1", launcher)


def test_an_approved_client_app_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    node, launcher = Node(Task(type=TaskType.CLIENT_APP, fab_hash=APPROVED)), Started()
    assert superexec_over(node, launcher, tmp_path, monkeypatch).step()
    assert node.asked_for == [TaskType.CLIENT_APP]
    assert launcher.tokens == ["token"]


def test_a_client_app_that_is_not_approved_is_refused_and_not_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node, launcher, refused = Node(Task(type=TaskType.CLIENT_APP, fab_hash="b" * 64)), Started(), list[str]()
    monkeypatch.setattr(SuperExec, "_refuse", lambda self, token: refused.append(token))
    assert superexec_over(node, launcher, tmp_path, monkeypatch).step()
    assert launcher.tokens == []
    assert refused == ["token"]


@pytest.mark.parametrize("kind", [kind for kind in TaskType if kind is not TaskType.CLIENT_APP])
def test_every_other_type_of_task_is_refused_even_for_an_approved_app(
    kind: TaskType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node, launcher = Node(Task(type=kind, fab_hash=APPROVED)), Started()
    assert superexec_over(node, launcher, tmp_path, monkeypatch).step()
    assert launcher.tokens == []
    assert node.outcomes == ["failed: this site runs client apps only"]


def test_no_task_and_no_answer_are_no_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    node, launcher = Node(None), Started()
    superexec = superexec_over(node, launcher, tmp_path, monkeypatch)
    assert not superexec.step()

    def away(request: AcquireTaskRequest) -> AcquireTaskResponse:
        raise httpx.ConnectError("away")

    monkeypatch.setattr(node, "AcquireTask", away)
    assert not superexec.step()
