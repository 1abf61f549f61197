"""A site whose answer does not come to its end holds a round up until the deadline, and costs no other site its own."""

import inspect
import math
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from flwr.app import ConfigRecord, Error, Message, RecordDict
from flwr.common.constant import ErrorCode
from flwr.proto.node_pb2 import NodeInfo
from flwr.supercore.inflatable.inflatable_utils import ObjectPullError, ObjectUnavailableError, pull_objects
from flwr.supercore.task_identity import TaskIdentity
from flwr.superlink.grid import http_grid

from fedward_core.engine import Job
from fedward_core.order import Order, Reply, Work
from fedward_core.spec import Spec
from fedward_server.flower import deployed_exchange, deployed_run, patient_grid, roster
from fedward_server.flower.deployed_exchange import DeployedExchange
from fedward_server.flower.patient_grid import LEAST_S, PatientGrid
from fedward_server.rounds.exchange import Errand

SITES = {1: "north", 2: "south"}
TRAINED_S = 300.0
STAGE = {"name": "only", "method": "rehearsal", "rounds": 1}
SPEC = {"name": "drill", "dataset": {"name": "none"}, "stages": [STAGE]}


def job_in(folder: Path) -> Job:
    return Job(spec=Spec.parse(SPEC), run="drill", sites=("north", "south"), data=folder, out=folder)


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, which passes by sleeping only."""
    time = [0.0]

    def sleep(seconds: float) -> None:
        time[0] += seconds

    for module in (deployed_exchange, patient_grid, roster):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: time[0], sleep=sleep))
    for name in ("_task_id", "_run_id", "_node_id"):  # Flower makes messages within a task only
        monkeypatch.setattr(TaskIdentity, name, 1)
    return time


class SlowLine:
    """Two nodes: pieces of the south's update are waited for as long as Flower is told to, and the north trains long.

    Args:
        now: The time.
    """

    def __init__(self, now: list[float]) -> None:
        self.now = now
        self.patient = PatientGrid(self)
        self._sent: dict[str, tuple[Message, float]] = {}

    def get_nodes(self) -> Iterable[NodeInfo]:
        return [NodeInfo(node_id=node, last_activated_at="1") for node in SITES]

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        for message in messages:
            message.metadata.__dict__["_message_id"] = f"m{len(self._sent)}"
            self._sent[message.metadata.message_id] = message, self.now[0] + message.metadata.ttl
        return []

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        answers = (self._answer(*self._sent[message_id]) for message_id in message_ids)
        return [answer for answer in answers if answer is not None]

    def _answer(self, message: Message, until_s: float) -> Message | None:
        order = Order.model_validate_json(str(message.content.config_records["order"]["json"]))
        site = SITES[message.metadata.dst_node_id]
        if order.work is Work.TRAIN and site == "north" and not TRAINED_S <= self.now[0] < until_s:
            return None
        if order.work is Work.TRAIN and site == "south":
            self.now[0] += self.patient.piece_patience_s
            return Message(Error(code=ErrorCode.MESSAGE_UNAVAILABLE, reason=""), reply_to=message)
        reply = Reply(site=site, work=order.work).model_dump_json()
        return Message(content=RecordDict({"reply": ConfigRecord({"json": reply})}), reply_to=message)


def test_what_others_have_sent_in_time_counts_though_one_site_was_waited_for_until_the_deadline(
    now: list[float], tmp_path: Path
) -> None:
    line = SlowLine(now)
    exchange = DeployedExchange(line.patient, job_in(tmp_path), bound=line.patient.wait_for_pieces_until)
    exchange.send({site: Errand(order=Order(run="drill", work=Work.DESCRIBE)) for site in SITES.values()})
    assert {answer.site for answer in exchange.receive(100.0)} == {"north", "south"}
    assert (begun := now[0]) < TRAINED_S
    exchange.send({site: Errand(order=Order(run="drill", work=Work.TRAIN)) for site in SITES.values()})
    assert [answer.site for answer in exchange.receive(900.0)] == ["north"]
    assert 900.0 <= now[0] - begun < 900.0 + 2 * LEAST_S


def test_pieces_are_waited_for_until_the_moment_that_was_named_but_a_little_at_least(now: list[float]) -> None:
    patient = PatientGrid(SlowLine(now))
    assert patient.piece_patience_s == math.inf
    patient.wait_for_pieces_until(100.0)
    assert patient.piece_patience_s == 100.0
    now[0] = 99.0
    assert patient.piece_patience_s == LEAST_S


def test_flower_is_told_how_long_to_wait_for_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[dict[str, Any]] = []

    def noted(**given: Any) -> dict[str, bytes]:
        told.append(given)
        return pull_objects(**{**given, "max_time": 0.01})

    monkeypatch.setattr(http_grid, "pull_objects", noted)
    deployed_run.connect(SlowLine([0.0]), job_in(tmp_path))  # type: ignore[arg-type]

    def never(_object_id: str) -> bytes:
        raise ObjectUnavailableError("it")

    with pytest.raises(ObjectPullError):
        vars(http_grid)["pull_objects"](object_ids=["it"], pull_object_fn=never)
    assert told[0]["max_time"] == math.inf
    assert "= pull_objects(\n                        object_ids=[" in inspect.getsource(http_grid)
