"""Orders whose delivery broke off are sent again, as the node signs in anew. These hold for the pinned version."""

import inspect
from typing import Any

import httpx
import pytest
from flwr.common.constant import NOOP_FLWR_AID
from flwr.proto.fleet_pb2 import DeactivateNodeResponse, PullMessagesRequest, PullMessagesResponse
from flwr.proto.heartbeat_pb2 import SendNodeHeartbeatResponse
from flwr.proto.message_pb2 import Message
from flwr.proto.node_pb2 import Node
from flwr.server.superlink.linkstate.in_memory_linkstate import InMemoryLinkState
from flwr.supercore.object_store.in_memory_object_store import InMemoryObjectStore
from flwr.superlink.federation.noop_federation_manager import NoOpFederationManager
from flwr.supernode import fleet_http_connection
from flwr.supernode.fleet_http_client import FleetHttpClient

from fedward_client.flower.lost_orders import CLIENT, CarefulClient

NOTHING, AN_ORDER = PullMessagesResponse(), PullMessagesResponse(messages_list=[Message()])
LOST = httpx.RemoteProtocolError("it broke off")
NOBODY = httpx.ConnectError("nobody is there")
SIGNED_OUT = httpx.HTTPStatusError("out", request=httpx.Request("POST", "http://x"), response=httpx.Response(409))
SIGN_OUT, SIGN_IN = "DeactivateNode", "SendNodeHeartbeat"


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the SuperLink is told beside looks for messages."""
    calls: list[str] = []

    def note(name: str, answer: object) -> Any:
        def call(self: FleetHttpClient, request: object) -> object:
            calls.append(name)
            return answer

        return call

    monkeypatch.setattr(FleetHttpClient, SIGN_OUT, note(SIGN_OUT, DeactivateNodeResponse()))
    monkeypatch.setattr(FleetHttpClient, SIGN_IN, note(SIGN_IN, SendNodeHeartbeatResponse(success=True)))
    return calls


def look(monkeypatch: pytest.MonkeyPatch, *answers: PullMessagesResponse | httpx.HTTPError) -> None:
    """Look for messages once for each answer, as Flower does after an error."""
    waiting = list(answers)

    def pull(self: FleetHttpClient, request: object) -> PullMessagesResponse:
        answer = waiting.pop(0)
        if isinstance(answer, httpx.HTTPError):
            raise answer
        return answer

    monkeypatch.setattr(FleetHttpClient, "PullMessages", pull)
    client = CarefulClient("http://x")
    for answer in answers:
        if isinstance(answer, httpx.HTTPError):
            with pytest.raises(type(answer)):
                client.PullMessages(PullMessagesRequest(node=Node(node_id=1)))
        else:
            assert client.PullMessages(PullMessagesRequest(node=Node(node_id=1))) is answer


def test_a_node_signs_in_anew_after_a_look_without_an_answer_and_once_only(
    told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    look(monkeypatch, NOTHING, LOST, NOBODY, NOTHING, NOTHING, AN_ORDER)
    assert told == [SIGN_OUT, SIGN_IN]


def test_a_node_that_reached_nobody_or_has_work_does_not(told: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    look(monkeypatch, NOBODY, NOTHING, LOST, AN_ORDER)
    assert told == []


def test_what_was_lost_beside_an_order_that_came_is_asked_for_after_it(
    told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    look(monkeypatch, LOST, AN_ORDER, NOTHING)
    assert told == [SIGN_OUT, SIGN_IN]


def test_a_node_that_was_signed_out_meanwhile_signs_in(told: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: FleetHttpClient, request: object) -> None:
        raise SIGNED_OUT

    monkeypatch.setattr(FleetHttpClient, SIGN_OUT, refuse)
    look(monkeypatch, LOST, NOTHING)
    assert told == [SIGN_IN]


def test_a_superlink_takes_a_node_that_signs_in_by_a_heartbeat_for_one_that_was_started_anew() -> None:
    state = InMemoryLinkState(NoOpFederationManager(), InMemoryObjectStore())
    node = state.create_node(NOOP_FLWR_AID, "owner", b"key", 30.0)

    def since() -> str:
        (info,) = state.get_node_info(node_ids=[node])
        return info.last_activated_at

    assert state.activate_node(node, 30.0)
    before = since()
    state.acknowledge_node_heartbeat(node, 30.0)
    assert since() == before
    state.deactivate_node(node)
    state.acknowledge_node_heartbeat(node, 30.0)
    assert since() > before


def test_flower_makes_its_client_by_the_name_that_is_replaced() -> None:
    assert f"with {CLIENT}.from_server_address(" in inspect.getsource(fleet_http_connection)
