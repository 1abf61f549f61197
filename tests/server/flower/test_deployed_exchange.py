"""Errands over nodes that come and go, with a grid that the test moves by hand."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Error, Message, RecordDict
from flwr.common.constant import ErrorCode
from flwr.proto.node_pb2 import NodeInfo
from flwr.supercore.task_identity import TaskIdentity

from fedward_core.engine import Job
from fedward_core.order import Order, Reply, Work
from fedward_core.refusal import REFUSED, Ground, Refusal
from fedward_core.spec import Spec
from fedward_server.flower import deployed_exchange, exchange, patient_grid, roster
from fedward_server.flower.deployed_exchange import DeployedExchange, pause_after
from fedward_server.flower.exchange import GridExchange
from fedward_server.flower.patient_grid import PatientGrid
from fedward_server.rounds.exchange import Answer, Errand

SPEC = {
    "name": "drill",
    "dataset": {"name": "none"},
    "stages": [{"name": "only", "method": "rehearsal", "rounds": 1}],
}
SITES = ("north", "south")

Behaviour = Callable[[Message], Message | None]


class Grid:
    """Nodes that answer at once, each in its own way."""

    def __init__(self) -> None:
        self.nodes: dict[int, tuple[str, str]] = {}
        self.ways: dict[int, Behaviour] = {}
        self.pushed: list[tuple[int, str]] = []
        self._replies: dict[str, Message] = {}
        self._count = 0

    def add(self, node: int, site: str, way: Behaviour | None = None, *, name: str = "", since: str = "1") -> None:
        self.nodes[node] = (name, since)
        self.ways[node] = way or (lambda message: reply_of(site, message))

    def remove(self, node: int) -> None:
        del self.nodes[node]

    def get_nodes(self) -> Iterable[NodeInfo]:
        return [NodeInfo(node_id=n, name=name, last_activated_at=since) for n, (name, since) in self.nodes.items()]

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        for message in messages:
            self._count += 1
            message.metadata.__dict__["_message_id"] = f"m{self._count}"
            node = message.metadata.dst_node_id
            self.pushed.append((node, message.metadata.message_type))
            reply = self.ways[node](message)
            if reply is not None:
                self._replies[f"m{self._count}"] = reply
        return []

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        return [self._replies.pop(i) for i in message_ids if i in self._replies]


def reply_of(site: str, message: Message) -> Message:
    order = Order.model_validate_json(str(message.content.config_records["order"]["json"]))
    reply = Reply(site=site, work=order.work, round=order.round, parent=order.parent)
    content = RecordDict({"reply": ConfigRecord({"json": reply.model_dump_json()})})
    return Message(content=content, reply_to=message)


def error_of(code: int, reason: str = "") -> Behaviour:
    return lambda message: Message(Error(code=code, reason=reason), reply_to=message)


def refusal_of(site: str, ground: Ground) -> Behaviour:
    return error_of(REFUSED, Refusal(site=site, ground=ground).model_dump_json())


@pytest.fixture(autouse=True)
def _task(monkeypatch: pytest.MonkeyPatch) -> None:
    """Flower makes messages within a task only."""
    for name in ("_task_id", "_run_id", "_node_id"):
        monkeypatch.setattr(TaskIdentity, name, 1)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[Callable[[], None]]:
    """Time that passes by sleeping only; what stands in the list happens at the next sleeps."""
    now, coming = [0.0], list[Callable[[], None]]()

    def sleep(seconds: float) -> None:
        now[0] += seconds
        if coming:
            coming.pop(0)()

    fake = SimpleNamespace(monotonic=lambda: now[0], sleep=sleep)
    for module in (deployed_exchange, patient_grid, roster):
        monkeypatch.setattr(module, "time", fake)
    return coming


def job(folder: Path, **values: Any) -> Job:
    return Job(spec=Spec.parse(SPEC), run="drill", sites=SITES, data=folder, out=folder, **values)


def ask(exchange: DeployedExchange, work: Work, timeout_s: float = 500.0) -> dict[str, Answer]:
    order = Order(run="drill", work=work)
    exchange.send({site: Errand(order=order) for site in SITES})
    return {answer.site: answer for answer in exchange.receive(timeout_s)}


Clock = list[Callable[[], None]]


def test_who_is_asked_who_it_is_is_not_asked_again(tmp_path: Path, clock: Clock) -> None:
    grid = Grid()
    grid.add(1, "north")
    clock += [lambda: None, lambda: grid.add(2, "south"), lambda: grid.add(3, "stranger")]
    exchange = DeployedExchange(grid, job(tmp_path))
    answers = ask(exchange, Work.DESCRIBE)
    assert all(answer.reply for answer in answers.values())
    assert sorted(grid.pushed) == [(1, "query"), (2, "query")]
    assert all(answer.reply for answer in ask(exchange, Work.TRAIN).values())
    assert sorted(grid.pushed)[::2] == [(1, "query"), (2, "query")]


def test_a_site_that_is_not_there_is_given_up_and_then_not_waited_for(tmp_path: Path, clock: Clock) -> None:
    grid = Grid()
    grid.add(1, "north")
    exchange = DeployedExchange(grid, job(tmp_path))
    assert "not connected" in ask(exchange, Work.DESCRIBE)["south"].fault
    slept: list[None] = []
    clock.extend([lambda: slept.append(None)] * 1000)
    assert "not connected" in ask(exchange, Work.TRAIN)["south"].fault
    assert len(slept) < 5
    grid.add(2, "south")
    clock.clear()
    ask(exchange, Work.TRAIN)
    assert ask(exchange, Work.TRAIN)["south"].reply is not None


def test_a_site_whose_node_went_gets_its_errand_again_at_the_node_that_comes(tmp_path: Path, clock: Clock) -> None:
    grid = Grid()
    grid.add(1, "north")
    grid.add(2, "south")
    exchange = DeployedExchange(grid, job(tmp_path))
    ask(exchange, Work.DESCRIBE)
    grid.ways[2] = error_of(ErrorCode.NODE_UNAVAILABLE)
    grid.remove(2)
    clock += [lambda: None, lambda: grid.add(7, "south")]
    assert ask(exchange, Work.TRAIN)["south"].reply is not None
    assert (7, "train") in grid.pushed


def test_a_killed_sites_next_node_is_known_though_it_answered_while_the_first_still_counted_as_there(
    tmp_path: Path, clock: Clock
) -> None:
    grid = Grid()
    grid.add(1, "north")
    grid.add(2, "south")
    exchange = DeployedExchange(grid, job(tmp_path))
    ask(exchange, Work.DESCRIBE)
    grid.ways[2] = lambda message: None
    clock += [lambda: None, lambda: grid.add(7, "south"), *[lambda: None] * 100, lambda: grid.remove(2)]
    assert ask(exchange, Work.TRAIN)["south"].reply is not None
    assert grid.pushed.count((7, "query")) == grid.pushed.count((7, "train")) == 1


def test_a_node_that_was_started_anew_under_its_name_gets_its_errand_again(tmp_path: Path, clock: Clock) -> None:
    (tmp_path / "authority.pem").touch()
    grid = Grid()
    grid.add(1, "north", name="north")
    grid.add(2, "south", name="south")
    exchange = DeployedExchange(grid, job(tmp_path, superlink="127.0.0.1:1", superlink_keys=tmp_path))
    assert ask(exchange, Work.DESCRIBE)["south"].reply is not None
    grid.ways[2] = lambda message: None
    clock += [lambda: None, lambda: grid.add(2, "south", name="south", since="2")]
    assert ask(exchange, Work.TRAIN)["south"].reply is not None
    assert grid.pushed.count((2, "train")) == 2


def test_an_app_that_dies_is_tried_once_more_and_no_more(tmp_path: Path, clock: Clock) -> None:
    grid = Grid()
    grid.add(1, "north")
    grid.add(2, "south")
    exchange = DeployedExchange(grid, job(tmp_path))
    ask(exchange, Work.DESCRIBE)
    grid.ways[2] = refusal_of("south", Ground.APP_DIED)
    grid.ways[1] = error_of(ErrorCode.CLIENT_APP_CRASHED)
    answers = ask(exchange, Work.TRAIN)
    assert "client app died" in answers["south"].fault
    assert "Flower error 8" in answers["north"].fault
    assert [grid.pushed.count((node, "train")) for node in (1, 2)] == [2, 2]


def test_a_refusal_is_the_last_word_and_other_errors_say_nothing_of_the_site(tmp_path: Path, clock: Clock) -> None:
    grid = Grid()
    grid.add(1, "north", refusal_of("north", Ground.UNAPPROVED_APP))
    grid.add(2, "south")
    exchange = DeployedExchange(grid, job(tmp_path))
    assert "has not approved this app" in ask(exchange, Work.DESCRIBE)["north"].fault
    grid.ways[1] = refusal_of("north", Ground.APP_ENDED)
    grid.ways[2] = error_of(ErrorCode.CLIENT_APP_RAISED_EXCEPTION, "/data/patient-7")
    answers = ask(exchange, Work.TRAIN)
    assert answers["north"].fault == "the site has ended its work for this run"
    assert "patient" not in answers["south"].fault
    assert len(grid.pushed) == 4


def test_what_a_superlink_lost_when_it_was_killed_is_sent_once_more(tmp_path: Path, clock: Clock) -> None:
    (tmp_path / "started").write_text("1")
    grid = Grid()
    grid.add(1, "north")
    grid.add(2, "south")
    exchange = DeployedExchange(grid, job(tmp_path, superlink="127.0.0.1:1", superlink_keys=tmp_path))
    ask(exchange, Work.DESCRIBE)
    grid.ways[2] = lambda message: None

    def restart() -> None:
        (tmp_path / "started").write_text("2")
        grid.add(2, "south")

    clock += [lambda: None, restart]
    assert ask(exchange, Work.TRAIN)["south"].reply is not None
    assert [grid.pushed.count((node, "train")) for node in (1, 2)] == [1, 2]
    ask(exchange, Work.TRAIN)
    assert [grid.pushed.count((node, "train")) for node in (1, 2)] == [2, 3]


def test_a_silent_site_is_forgotten_at_the_deadline(tmp_path: Path, clock: Clock) -> None:
    grid = Grid()
    grid.add(1, "north")
    grid.add(2, "south")
    exchange = DeployedExchange(grid, job(tmp_path))
    ask(exchange, Work.DESCRIBE)
    grid.ways[2] = lambda message: None
    assert set(ask(exchange, Work.TRAIN, timeout_s=20.0)) == {"north"}


@pytest.mark.parametrize("forget", [True, False], ids=["forgotten", "after the deadline"])
def test_a_node_that_could_not_be_reached_gives_no_answer_to_a_later_errand(
    forget: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    grid = Grid()
    grid.add(1, "north")
    exchange = GridExchange(grid, {"north": 1}, poll_s=0.01, ttl_s=60)
    errands = {"north": Errand(order=Order(run="drill", work=Work.TRAIN))}
    with monkeypatch.context() as patch:
        patch.setattr(grid, "push_messages", lambda messages: [])
        exchange.send(errands)
    if forget:
        exchange.forget("north")
        assert list(exchange.arrived()) == []
    else:
        assert list(exchange.receive(0.0)) == []
    exchange.send(errands)
    (answer,) = exchange.receive(60.0)
    assert answer.reply is not None


def test_a_busy_database_is_asked_again_and_any_other_error_is_not(clock: Clock) -> None:
    grid, answers = Grid(), [500, 500, 200, 404]

    def pull(message_ids: Iterable[str]) -> Iterable[Message]:
        code = answers.pop(0)
        request = httpx.Request("POST", "http://127.0.0.1")
        httpx.Response(code, request=request).raise_for_status()
        return []

    grid.pull_messages = pull  # type: ignore[method-assign]
    assert PatientGrid(grid).pull_messages(["m1"]) == []
    with pytest.raises(httpx.HTTPStatusError):
        PatientGrid(grid).pull_messages(["m1"])
    assert answers == []


def test_pieces_that_make_no_message_are_the_fault_of_their_site_alone(tmp_path: Path, clock: Clock) -> None:
    grid = Grid()
    grid.add(1, "north")
    grid.add(2, "south")
    pull = grid.pull_messages

    def put_together(message_ids: Iterable[str]) -> Iterable[Message]:
        replies = list(pull(message_ids))
        if any(reply.metadata.src_node_id == 3 for reply in replies):
            raise ValueError("Flower met an object that it does not know")
        return replies

    def broken(message: Message) -> Message:
        reply = reply_of("south", message)
        reply.metadata.__dict__["_src_node_id"] = 3
        return reply

    grid.pull_messages = put_together  # type: ignore[method-assign]
    grid.add(4, "stranger", broken)
    exchange = DeployedExchange(PatientGrid(grid), job(tmp_path))
    ask(exchange, Work.DESCRIBE)
    grid.ways[2] = broken
    answers = ask(exchange, Work.TRAIN)
    assert only_the_south_cannot_be_read(answers)


def only_the_south_cannot_be_read(answers: dict[str, Answer]) -> bool:
    south = answers["south"]
    return answers["north"].reply is not None and south.reply is None and "cannot be read" in south.fault


def group_of(header: list[object]) -> Behaviour:
    """A reply with a group of arrays under a header of the site's choice."""

    def answer(message: Message) -> Message:
        reply, text = reply_of("south", message), json.dumps(header).encode()
        packed = len(text).to_bytes(8, "little") + text + bytes(200)
        reply.content["group.shared"] = ArrayRecord({"packed": Array("uint8", (len(packed),), "packed", packed)})
        return reply

    return answer


def wordy(message: Message) -> Message:
    reply = reply_of("south", message)
    facts = Reply.model_validate_json(str(reply.content.config_records["reply"]["json"]))
    text = facts.model_copy(update={"parent": "x" * 5_000_000}).model_dump_json()
    reply.content["reply"] = ConfigRecord({"json": text})
    return reply


@pytest.mark.parametrize(
    "way",
    [group_of([["w", "f4,(3f4", [1]]]), group_of([["w", "<f4", [[0], 10**12]]]), wordy],
    ids=["a type that is none", "a shape that takes all memory", "too many words"],
)
def test_what_a_site_makes_up_is_the_fault_of_that_site_alone(tmp_path: Path, clock: Clock, way: Behaviour) -> None:
    grid = Grid()
    grid.add(1, "north")
    grid.add(2, "south")
    exchange = DeployedExchange(PatientGrid(grid), job(tmp_path))
    ask(exchange, Work.DESCRIBE)
    grid.ways[2] = way
    answers = ask(exchange, Work.TRAIN)
    assert only_the_south_cannot_be_read(answers)


def test_an_answer_that_broke_off_on_its_way_is_asked_for_again(tmp_path: Path, clock: Clock) -> None:
    grid = Grid()
    grid.add(1, "north")
    grid.add(2, "south")
    exchange = DeployedExchange(grid, job(tmp_path))
    ask(exchange, Work.DESCRIBE)
    grid.ways[2] = error_of(ErrorCode.MESSAGE_UNAVAILABLE)
    clock.append(lambda: grid.ways.update({2: lambda message: reply_of("south", message)}))
    assert ask(exchange, Work.TRAIN)["south"].reply is not None
    assert grid.pushed.count((2, "train")) == 2


def test_the_longer_a_look_takes_the_longer_until_the_next() -> None:
    assert [pause_after(seconds) for seconds in (0.0, 0.005, 0.05, 5.0)] == pytest.approx([0.1, 0.1, 0.15, 1.0])


def test_a_reply_of_more_words_than_anybody_needs_is_none() -> None:
    order = Message(content=RecordDict(), dst_node_id=1, message_type="query")
    for size, fault in ((1000, False), (2**20, True)):
        reply = Reply(site="x" * size, work=Work.EVALUATE)
        records = RecordDict({"reply": ConfigRecord({"json": reply.model_dump_json()})})
        answer = exchange._answer("north", Message(content=records, reply_to=order))
        assert (answer.reply is None) is fault
