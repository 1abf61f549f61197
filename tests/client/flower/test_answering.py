"""How a task is answered in its app's stead, so that nobody waits for an app that will not answer."""

from typing import Any

import httpx
import pytest
from flwr.app import Context, Message, RecordDict
from flwr.common.constant import SubStatus
from flwr.supercore.task_identity import TaskIdentity

from fedward_client.flower import answering
from fedward_client.flower.answering import answer_for, give_up
from fedward_core.refusal import REFUSED, Ground, Refusal

REFUSAL = Refusal(site="north", ground=Ground.APP_DIED)
NODE, RUN = 7, 5


class SuperNode:
    """Gives the task's message out, and notes in which order it is told what.

    Attributes:
        told: ``answer``, ``end`` and ``closed``, as they come.
        answers: The answers, each with its context.
        endings: How tasks ended.
        fault: Raised when the message is asked for.
    """

    def __init__(self) -> None:
        self.told: list[str] = []
        self.answers: list[tuple[Message, Context]] = []
        self.endings: list[tuple[str, str]] = []
        self.fault: Exception | None = None

    def pull(self, _client: Any) -> tuple[Message, Context, None, None]:
        if self.fault is not None:
            raise self.fault
        return question(), context(), None, None

    def push(self, _client: Any, message: Message, context: Context) -> None:
        self.told.append("answer")
        self.answers.append((message, context))

    def end(self, _client: Any, _context: Any, status: str, details: str) -> None:
        self.told.append("end")
        self.endings.append((status, details))

    def close(self) -> None:
        self.told.append("closed")


def question() -> Message:
    return Message(content=RecordDict(), dst_node_id=NODE, message_type="train")


def context() -> Context:
    return Context(run_id=RUN, node_id=NODE, node_config={"kept": 1}, state=RecordDict(), run_config={})


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> SuperNode:
    node = SuperNode()
    for name, value in (("_task_id", 1), ("_run_id", RUN), ("_node_id", NODE)):
        monkeypatch.setattr(TaskIdentity, name, value)
    monkeypatch.setattr(answering, "connect", lambda address, token: node)
    monkeypatch.setattr(answering, "pull_task_input", node.pull)
    monkeypatch.setattr(answering, "push_message", node.push)
    monkeypatch.setattr(answering, "push_task_output", node.end)
    return node


def test_a_task_that_no_app_has_begun_is_answered_by_its_code_and_ended(node: SuperNode) -> None:
    answer_for("127.0.0.1:1", "token", REFUSAL)
    ((answer, given),) = node.answers
    assert (answer.error.code, answer.error.reason) == (REFUSED, REFUSAL.model_dump_json())
    assert given.node_config == {"kept": 1}
    assert node.endings == [(SubStatus.FAILED, Ground.APP_DIED)]
    assert node.told == ["answer", "end", "closed"]


def test_a_message_that_the_app_had_fetched_is_answered_and_not_asked_for_again(node: SuperNode) -> None:
    node.fault = AssertionError("it was fetched")
    fetched = question()
    answer_for("127.0.0.1:1", "token", REFUSAL, fetched)
    ((answer, given),) = node.answers
    assert answer.error.code == REFUSED
    assert (given.node_id, given.run_id) == (NODE, fetched.metadata.run_id)
    assert node.told == ["answer", "end", "closed"]


def test_a_task_whose_message_is_gone_is_ended_all_the_same(node: SuperNode) -> None:
    node.fault = RuntimeError("no message")
    answer_for("127.0.0.1:1", "token", REFUSAL)
    assert node.told == ["end", "closed"]


def test_a_supernode_that_does_not_answer_is_told_to_the_agent_and_leaves_no_connection(node: SuperNode) -> None:
    node.fault = httpx.ConnectError("away")
    with pytest.raises(httpx.ConnectError):
        answer_for("127.0.0.1:1", "token", REFUSAL)
    assert node.told == ["closed"]


def test_a_task_without_a_message_is_ended_with_the_reason(node: SuperNode) -> None:
    give_up("127.0.0.1:1", "token", "this site runs client apps only")
    assert node.endings == [(SubStatus.FAILED, "this site runs client apps only")]
    assert node.told == ["end", "closed"]
