"""What is mended in the SuperNode's loop, tried on Flower's own state. These hold for the pinned version."""

import inspect
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from flwr.app import ConfigRecord, Error, Message, RecordDict
from flwr.supercore.object_store.in_memory_object_store import InMemoryObjectStore
from flwr.supercore.run import RunNotRunningException
from flwr.supercore.task_identity import TaskIdentity
from flwr.supernode import start_client_internal
from flwr.supernode.nodestate.in_memory_nodestate import InMemoryNodeState

from fedward_client.flower.message_loop import ASK_EVERY_S, FETCH, MessageLoop

RUN = 7


@pytest.fixture
def store() -> InMemoryObjectStore:
    return InMemoryObjectStore()


@pytest.fixture
def state(store: InMemoryObjectStore, monkeypatch: pytest.MonkeyPatch) -> InMemoryNodeState:
    for name in ("_task_id", "_run_id", "_node_id"):
        monkeypatch.setattr(TaskIdentity, name, RUN)
    made = InMemoryNodeState(store)
    made.set_node_id(1)
    return made


def order() -> Message:
    message = Message(RecordDict({"order": ConfigRecord({"json": "{}"})}), dst_node_id=1, message_type="train")
    message.metadata.__dict__["_message_id"] = message.object_id
    return message


def call(loop: MessageLoop, state: Any, store: Any, message: Message | None, get_run: Callable[[int], object]) -> Any:
    return loop(state=state, object_store=store, receive=lambda: (message, None) if message else None, get_run=get_run)


def test_flowers_function_is_called_as_ours_expects() -> None:
    names = inspect.signature(vars(start_client_internal)[FETCH]).parameters.keys()
    assert {"state", "object_store", "receive", "get_run"} <= names
    assert f"{FETCH}(\n                state=state," in inspect.getsource(start_client_internal)


def test_a_run_that_ends_while_its_message_is_fetched_leaves_nothing(
    state: InMemoryNodeState, store: InMemoryObjectStore
) -> None:
    message = order()

    def fetch(**given: Any) -> None:
        """As Flower: task and message are there when the run turns out to have ended."""
        given["receive"]()
        assert state.create_task(task_type="flwr-clientapp", run_id=RUN, fab_hash="a") is not None
        state.store_message(message)

    assert call(MessageLoop(fetch), state, store, message, lambda run: None) is None
    assert state.msg_store == {}
    assert [task.status.sub_status for task in state.get_tasks()] == ["stopped"]


def test_a_reply_that_nobody_waits_for_is_sent_at_the_next_look(
    state: InMemoryNodeState, store: InMemoryObjectStore
) -> None:
    loop = MessageLoop(lambda **given: None)
    assert call(loop, state, store, None, lambda run: None) is None
    reply = Message(Error(code=2), reply_to=order())
    reply.metadata.__dict__["_message_id"] = reply.object_id
    state.store_message(reply)
    assert call(loop, state, store, None, lambda run: None) == 0
    state.get_messages_legacy(is_reply=True)
    assert call(loop, state, store, None, lambda run: None) is None


def test_a_run_that_ends_is_waited_for_no_more(
    state: InMemoryNodeState, store: InMemoryObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, answers = [0.0], list[BaseException | None]([None, httpx.ConnectError("away"), RunNotRunningException()])
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    state.store_message(order())
    state.record_message_processing_start(order().metadata.message_id)
    state.get_messages_legacy(is_reply=False)

    def get_run(run: int) -> object:
        assert run == RUN
        answer = answers.pop(0)
        if answer is not None:
            raise answer
        return None

    loop = MessageLoop(lambda **given: RUN)
    assert call(loop, state, store, None, get_run) == RUN
    for _ in range(3):
        assert state.get_messages_legacy(is_reply=True) == []
        loop.while_waiting()
        now[0] += ASK_EVERY_S
        loop.while_waiting()
    (reply,) = state.get_messages_legacy(is_reply=True)
    assert reply.has_error()
    assert answers == []
