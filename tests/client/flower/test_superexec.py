"""What the site's SuperExec takes and what it refuses, and whom it answers for."""

import os
import pwd
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from flwr.app import Message
from flwr.proto.runtime_pb2 import AcquireTaskRequest, AcquireTaskResponse
from flwr.proto.task_pb2 import Task
from flwr.supercore.constant import TaskType

from fedward_client.flower import superexec as module
from fedward_client.flower import work_note
from fedward_client.flower.superexec import ASK_S, SuperExec
from fedward_client.flower.work import START_S
from fedward_client.flower.work_note import WorkNote
from fedward_core.processes.process import Process
from fedward_core.refusal import Ground, Refusal

APPROVED = "a" * 64


class Node:
    """A SuperNode that offers one task, whatever it is asked for."""

    def __init__(self, task: Task | None = None) -> None:
        self.task = task
        self.asked_for: list[str] = []

    def AcquireTask(self, request: AcquireTaskRequest) -> AcquireTaskResponse:
        self.asked_for = list(request.supported_task_types)
        task, self.task = self.task, None
        return AcquireTaskResponse(task=task, token="token") if task else AcquireTaskResponse()

    def close(self) -> None: ...


class OneApp:
    """Approves one app."""

    def approves(self, app: str) -> bool:
        return app == APPROVED


class Started:
    """A launcher of programs that sleep in the app's stead."""

    def __init__(self) -> None:
        self.tokens: list[str] = []
        self.notes: list[Path] = []
        self.started: list[str] = []
        self.apps: list[subprocess.Popen[bytes]] = []

    def start(self, address: str, token: str, app: str, note: Path) -> None:
        self.tokens.append(token)
        self.started.append(app)
        self.notes.append(note)

    def begin(self, run: str) -> None:
        """The app of the last task starts, and gets its message."""
        app = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, start_new_session=True)
        self.apps.append(app)
        process = Process.of(app.pid)
        assert process is not None
        WorkNote(process=process, run=run).write(self.notes[-1])

    def close(self) -> None:
        for app in self.apps:
            app.kill()
            app.communicate()


@pytest.fixture
def launcher() -> Iterator[Started]:
    made = Started()
    yield made
    made.close()


@pytest.fixture
def node() -> Node:
    return Node()


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Refusal, Message | None]]:
    seen: list[tuple[str, Refusal, Message | None]] = []
    monkeypatch.setattr(
        module, "answer_for", lambda address, *rest: seen.append(rest if len(rest) > 2 else (*rest, None))
    )
    return seen


@pytest.fixture
def superexec(node: Node, launcher: Started, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SuperExec:
    monkeypatch.setattr(module, "connect", lambda address, secret: node)
    notes = tmp_path / "notes"
    return SuperExec("north", "127.0.0.1:1", approvals=OneApp(), launcher=launcher, notes=notes)


Answers = list[tuple[str, Refusal, Message | None]]


def client_app() -> Task:
    return Task(type=TaskType.CLIENT_APP, fab_hash=APPROVED)


def test_an_approved_client_app_is_started(node: Node, launcher: Started, superexec: SuperExec) -> None:
    node.task = client_app()
    assert superexec.step()
    assert node.asked_for == [TaskType.CLIENT_APP]
    assert (launcher.tokens, launcher.started) == (["token"], [APPROVED])
    assert superexec.runs() == ()
    launcher.begin("run-1")
    assert superexec.runs() == ("run-1",)


def test_a_client_app_that_is_not_approved_is_refused_and_not_started(
    node: Node, launcher: Started, superexec: SuperExec, answers: Answers
) -> None:
    node.task = Task(type=TaskType.CLIENT_APP, fab_hash="b" * 64)
    assert superexec.step()
    assert launcher.tokens == []
    assert answers == [("token", Refusal(site="north", ground=Ground.UNAPPROVED_APP), None)]


def test_a_task_that_cannot_be_answered_ends_no_agent(
    node: Node, superexec: SuperExec, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise ValueError("these pieces make no message")

    monkeypatch.setattr(module, "answer_for", fail)
    node.task = Task(type=TaskType.CLIENT_APP, fab_hash="b" * 64)
    assert not superexec.step()
    assert "make no message" in caplog.text


@pytest.mark.parametrize("kind", [kind for kind in TaskType if kind is not TaskType.CLIENT_APP])
def test_every_other_type_of_task_is_refused_even_for_an_approved_app(
    kind: TaskType, node: Node, launcher: Started, superexec: SuperExec, monkeypatch: pytest.MonkeyPatch
) -> None:
    reasons: list[str] = []
    monkeypatch.setattr(module, "give_up", lambda address, token, reason: reasons.append(reason))
    node.task = Task(type=kind, fab_hash=APPROVED)
    assert superexec.step()
    assert launcher.tokens == []
    assert reasons == ["this site runs client apps only"]


def test_no_task_and_no_answer_are_no_work(node: Node, superexec: SuperExec, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not superexec.step()

    def away(request: AcquireTaskRequest) -> AcquireTaskResponse:
        raise httpx.ConnectError("away")

    monkeypatch.setattr(node, "AcquireTask", away)
    assert not superexec.step()


def test_an_app_that_dies_is_answered_for_once(
    node: Node, launcher: Started, superexec: SuperExec, answers: Answers
) -> None:
    node.task = client_app()
    superexec.step()
    launcher.begin("run-1")
    superexec.step()
    assert answers == []
    os.kill(launcher.apps[0].pid, signal.SIGKILL)
    launcher.apps[0].wait()
    superexec.step()
    superexec.step()
    assert answers == [("token", Refusal(site="north", ground=Ground.APP_DIED), None)]
    assert superexec.runs() == ()


def test_an_app_that_has_answered_is_not_answered_for(
    node: Node, launcher: Started, superexec: SuperExec, answers: Answers
) -> None:
    node.task = client_app()
    superexec.step()
    launcher.begin("run-1")
    superexec.step()
    launcher.notes[0].unlink()
    launcher.close()
    superexec.step()
    assert answers == []
    assert superexec._works == []


def test_a_run_that_is_ended_is_killed_and_answered_for_and_others_are_left_alone(
    node: Node, launcher: Started, superexec: SuperExec, answers: Answers
) -> None:
    node.task = client_app()
    superexec.step()
    launcher.begin("run-1")
    superexec.end_run("run-2")
    assert superexec.runs() == ("run-1",)
    superexec.end_run("run-1")
    superexec.end_run("run-1")
    assert superexec.runs() == ()
    superexec.step()
    assert [refusal.ground for _, refusal, _ in answers] == [Ground.APP_ENDED]


def test_an_app_that_is_still_there_is_ended_before_the_next_is_started(
    node: Node, launcher: Started, superexec: SuperExec, answers: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    given_up: list[tuple[str, str]] = []
    monkeypatch.setattr(module, "give_up", lambda address, token, reason: given_up.append((token, reason)))
    monkeypatch.setattr(module, "LEAVE_S", 0.1)
    monkeypatch.setattr(module, "ASK_S", 0.0)
    node.task = client_app()
    superexec.step()
    launcher.begin("run-1")
    node.task = client_app()
    superexec.step()
    assert launcher.apps[0].poll() == -signal.SIGKILL
    assert launcher.tokens == ["token", "token"]
    assert given_up == [("token", "the site works for another run")]
    assert (answers, launcher.notes[0].exists()) == ([], False)


def test_tasks_are_asked_for_seldom_while_an_app_is_at_work_and_at_once_when_it_is_over(
    node: Node, launcher: Started, superexec: SuperExec, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [time.monotonic()]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    node.task = client_app()
    superexec.step()
    launcher.begin("run-1")
    node.task = client_app()
    assert not superexec.step()
    now[0] += ASK_S
    node.task = None
    superexec.step()
    node.task = client_app()
    assert not superexec.step()
    launcher.notes[0].unlink()  # it has answered
    launcher.close()
    assert superexec.step()
    assert launcher.tokens == ["token", "token"]


def test_an_app_that_never_starts_is_forgotten_since_its_task_is_offered_again(
    node: Node, superexec: SuperExec, answers: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    node.task = client_app()
    superexec.step()
    superexec.step()
    assert len(superexec._works) == 1
    now = time.monotonic() + START_S + 1
    monkeypatch.setattr(time, "monotonic", lambda: now)
    superexec.step()
    assert superexec._works == []
    assert answers == []


def test_a_note_that_is_not_there_or_not_whole_is_none(tmp_path: Path) -> None:
    assert WorkNote.read(tmp_path / "none.json") is None
    (tmp_path / "half.json").write_text("{")
    assert WorkNote.read(tmp_path / "half.json") is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can write in another user's name")
def test_a_note_names_no_process_but_its_writers(tmp_path: Path) -> None:
    path, process = tmp_path / "1.json", Process.of(os.getpid())
    assert process is not None
    WorkNote(process=process).write(path)
    assert WorkNote.read(path) is not None
    os.chown(path, pwd.getpwnam("nobody").pw_uid, -1)
    assert WorkNote.read(path) is None


def test_a_note_is_a_small_file_and_no_link_or_pipe_that_an_app_has_left(tmp_path: Path) -> None:
    path, real = tmp_path / "1.json", tmp_path / "real.json"
    process = Process.of(os.getpid())
    assert process is not None
    WorkNote(process=process).write(real)
    path.symlink_to(real)
    assert WorkNote.read(path) is None
    path.unlink()
    os.mkfifo(path)
    assert WorkNote.read(path) is None  # and nobody waits for it
    path.unlink()
    path.write_text(" " * 2**20 + WorkNote(process=process).model_dump_json())
    assert WorkNote.read(path) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can write in another user's name")
def test_a_note_that_is_replaced_while_it_is_read_is_of_whoever_wrote_what_was_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, process = tmp_path / "1.json", Process.of(os.getpid())
    assert process is not None
    WorkNote(process=process).write(path)
    os.chown(path, pwd.getpwnam("nobody").pw_uid, -1)
    user_of = work_note._user_of

    def replaced(process: Process) -> int:
        path.unlink()
        path.symlink_to("/etc/passwd")  # root's, as the process is that the note names
        return user_of(process)

    monkeypatch.setattr(work_note, "_user_of", replaced)
    assert WorkNote.read(path) is None
