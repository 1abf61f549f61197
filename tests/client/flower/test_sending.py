"""A reply arrives whole though connections break: Flower's own loop and state. These hold for the pinned version."""

import inspect
from collections.abc import Callable
from types import ModuleType
from typing import Any, TypeVar

import httpx
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, RecordDict
from flwr.server.superlink.linkstate.in_memory_linkstate import InMemoryLinkState
from flwr.supercore.constant import OBJECT_PUSH_SESSION_TTL_SECONDS
from flwr.supercore.inflatable import inflatable_utils
from flwr.supercore.inflatable.inflatable_utils import ObjectPushError
from flwr.supercore.object_store.in_memory_object_store import InMemoryObjectStore
from flwr.supercore.run import RunNotRunningException
from flwr.supercore.task_identity import TaskIdentity
from flwr.superlink.federation.noop_federation_manager import NoOpFederationManager
from flwr.supernode import start_client_internal
from flwr.supernode.nodestate.in_memory_nodestate import InMemoryNodeState

from fedward_client.flower import sending
from fedward_client.flower.sending import CONTENTS, PUSH, mend_sending

RUN = 7
T = TypeVar("T")


class SuperLink:
    """Flower's SuperLink as far as it takes replies, at the end of a connection that breaks.

    Args:
        broken: The calls, counted as they come, whose answers are lost: Flower's client repeats them.
        faults: What the next pieces meet before they arrive.
    """

    def __init__(self, *, broken: tuple[int, ...] = (), faults: tuple[Exception, ...] = ()) -> None:
        self._broken, self._faults = broken, list(faults)
        self._store = InMemoryObjectStore()
        self._state = InMemoryLinkState(NoOpFederationManager(), self._store)
        self._came = 0
        self.pieces: set[str] = set()

    def send(self, message: Message, tree: Any, runtime: float) -> tuple[set[str], str]:
        return self._twice_if_broken(lambda: self._announce(tree))

    def push_object(self, run: int, session: str, piece: str, content: bytes) -> None:
        if self._faults:
            raise self._faults.pop()
        if not self._twice_if_broken(lambda: self._state.store_object(run, session, piece, content)):
            raise ObjectPushError(piece, run, session)

    def _announce(self, tree: Any) -> tuple[set[str], str]:
        """The round loop fetches a reply that was announced at once, and the SuperLink then knows it no more."""
        session = self._state.start_session(RUN)
        if self.pieces:
            return set(), session
        self.pieces = set(self._state.preregister_object_tree(tree, session))
        return set(self.pieces), session

    def _twice_if_broken(self, call: Callable[[], T]) -> T:
        self._came += 1
        return [call() for _ in range(1 + (self._came in self._broken))][-1]

    @property
    def missing(self) -> set[str]:
        """The pieces that were announced and are not there."""
        return {piece for piece in self.pieces if not self._store.get(piece)}


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pauses, one piece at a time, and a task to belong to."""
    monkeypatch.setattr(sending, "PAUSES_S", (0.0, 0.0))
    monkeypatch.setattr(inflatable_utils, "get_num_workers", lambda most: 1)
    for name in ("_task_id", "_run_id", "_node_id"):
        monkeypatch.setattr(TaskIdentity, name, RUN)


@pytest.fixture
def loop() -> ModuleType:
    """Flower's loop in a module of its own, which can be mended."""
    module = ModuleType("loop")
    exec(inspect.getsource(start_client_internal), vars(module))
    return module


def send_one(loop: ModuleType, superlink: SuperLink) -> None:
    """Let the loop send a reply of several pieces, which is then forgotten at the node."""
    store = InMemoryObjectStore()
    state = InMemoryNodeState(store)
    state.set_node_id(1)
    order = Message(RecordDict({"order": ConfigRecord({"json": "{}"})}), dst_node_id=1, message_type="train")
    order.metadata.__dict__["_message_id"] = order.object_id
    weights = ArrayRecord({"packed": Array("uint8", (4,), "packed", b"abcd")})
    reply = Message(RecordDict({"reply": ConfigRecord({"json": "{}"}), "weights": weights}), reply_to=order)
    state.store_message(order)
    state.record_message_processing_start(order.metadata.message_id)
    vars(loop)["_insert_message"](reply, state, store)
    state.record_message_processing_end(order.metadata.message_id)
    vars(loop)[PUSH](state=state, object_store=store, send=superlink.send, push_object=superlink.push_object)
    assert state.get_messages_legacy(is_reply=True) == []


def test_flowers_functions_are_called_as_ours_expect() -> None:
    source = inspect.getsource(start_client_internal)
    assert {"send", "push_object"} <= inspect.signature(vars(start_client_internal)[PUSH]).parameters.keys()
    assert "push_object_fn" in inspect.signature(vars(start_client_internal)[CONTENTS]).parameters
    assert f"{PUSH}(\n                state=state," in source
    assert f"{CONTENTS}(\n                yield_object_contents(object_tree, ids_obj_to_send),\n" in source


@pytest.mark.parametrize("broken", [(1,), (2,)])
def test_flower_drops_a_reply_whose_receipt_is_lost_and_its_superlink_waits_three_minutes(
    broken: tuple[int, ...], loop: ModuleType
) -> None:
    superlink = SuperLink(broken=broken)
    send_one(loop, superlink)
    assert superlink.missing
    assert OBJECT_PUSH_SESSION_TTL_SECONDS == 180


@pytest.mark.parametrize("broken", [(), (1,), (2,), (1, 2), (3,), (1, 2, 3, 4, 5, 6)])
def test_a_reply_arrives_whole_whichever_receipts_are_lost(broken: tuple[int, ...], loop: ModuleType) -> None:
    mend_sending(loop)
    superlink = SuperLink(broken=broken)
    send_one(loop, superlink)
    assert len(superlink.pieces) > 3
    assert superlink.missing == set()


def test_a_superlink_that_answers_with_errors_for_a_moment_gets_the_reply(loop: ModuleType) -> None:
    mend_sending(loop)
    busy = httpx.HTTPStatusError("busy", request=httpx.Request("POST", "http://x"), response=httpx.Response(500))
    superlink = SuperLink(faults=(busy, busy))
    send_one(loop, superlink)
    assert superlink.missing == set()


@pytest.mark.parametrize("fault", [ObjectPushError("a", RUN, "b"), RunNotRunningException()])
def test_a_reply_that_nobody_takes_is_given_up(fault: Exception, loop: ModuleType) -> None:
    mend_sending(loop)
    superlink = SuperLink(faults=(fault,) * 100)
    send_one(loop, superlink)
    assert superlink.missing == superlink.pieces
