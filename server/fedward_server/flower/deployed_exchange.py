"""The exchange over a SuperLink, whose nodes have no names: the answers to the first order tell who is who.

The first order asks every node for its dataset card, so nothing is asked twice. A site that refuses, or is not
connected, gives an answer that says so, which fails the run by the round loop's own rules.
"""

import time
from collections.abc import Iterator, Mapping

from flwr.app import ConfigRecord, Message, RecordDict
from flwr.serverapp import Grid
from pydantic import ValidationError

from fedward_core.engine import Job
from fedward_core.order import Order, Reply, Work
from fedward_core.refusal import REFUSED, Refusal
from fedward_server.flower.exchange import MESSAGE_TYPES, GridExchange
from fedward_server.rounds.exchange import Answer, Errand

POLL_S = 0.1  # short beside a round, and still few looks, each of which costs the SuperLink some work
JOIN_TIMEOUT_S = 60.0  # as long as Flower may keep a node away that comes back


class DeployedExchange:
    """Sends errands through a SuperLink.

    Args:
        grid: The SuperLink's grid.
        job: Whose sites take part; nodes of other sites are left alone after the first order.
        join_timeout_s: How long to wait for sites that are not connected yet.
    """

    def __init__(self, grid: Grid, job: Job, *, join_timeout_s: float = JOIN_TIMEOUT_S) -> None:
        self._grid = grid
        self._job = job
        self._join_timeout_s = join_timeout_s
        self._first: dict[str, Answer] = {}
        self._exchange: GridExchange | None = None

    def send(self, errands: Mapping[str, Errand]) -> None:
        """Send each site its errand; the first ones must ask for cards, and are the same for all sites."""
        if self._exchange:
            self._exchange.send(errands)
            return
        order = next(iter(errands.values())).order
        assert order.work is Work.DESCRIBE
        roll = _RollCall(self._grid, order, set(errands), self._job.spec.cohort.round_deadline_s)
        roll.call(self._join_timeout_s)
        self._first = {site: roll.answers.get(site, _absent(site)) for site in errands}
        ttl_s = self._job.spec.cohort.round_deadline_s
        self._exchange = GridExchange(self._grid, roll.nodes, poll_s=POLL_S, ttl_s=ttl_s)

    def receive(self, timeout_s: float) -> Iterator[Answer]:
        """Answers as they come."""
        assert self._exchange is not None
        while self._first:
            yield self._first.popitem()[1]
        yield from self._exchange.receive(timeout_s)


class _RollCall:
    """Asks every node that comes up, until each wanted site has answered."""

    def __init__(self, grid: Grid, order: Order, wanted: set[str], ttl_s: float) -> None:
        self._grid = grid
        self._order = order
        self._wanted = wanted
        self._ttl_s = ttl_s
        self._asked: set[int] = set()
        self._out: dict[str, int] = {}
        self.nodes: dict[str, int] = {}
        self.answers: dict[str, Answer] = {}

    def call(self, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while self._wanted - self.answers.keys() and time.monotonic() < deadline:
            self._ask_new_nodes()
            for reply in list(self._grid.pull_messages(list(self._out))) if self._out else []:
                self._take(reply)
            time.sleep(POLL_S)

    def _ask_new_nodes(self) -> None:
        new = set(self._grid.get_node_ids()) - self._asked
        messages = [self._message(node) for node in sorted(new)]
        if messages:
            self._grid.push_messages(messages)
        self._asked |= new
        self._out |= {m.metadata.message_id: m.metadata.dst_node_id for m in messages if m.metadata.message_id}

    def _message(self, node: int) -> Message:
        content = RecordDict({"order": ConfigRecord({"json": self._order.model_dump_json()})})
        message_type = MESSAGE_TYPES[self._order.work]
        return Message(content=content, dst_node_id=node, message_type=message_type, ttl=self._ttl_s, group_id="roll")

    def _take(self, message: Message) -> None:
        """Note who a node is; the first node that answers for a site is the site's."""
        node = self._out.pop(message.metadata.reply_to_message_id)
        answer = _read(message)
        if answer and answer.site in self._wanted and answer.site not in self.answers:
            self.answers[answer.site] = answer
            self.nodes[answer.site] = node


def _read(message: Message) -> Answer | None:
    """A card, or a refusal; None from a node that tells neither, and so cannot be told apart."""
    try:
        if message.has_error():
            return _refusal(message)
        reply = Reply.model_validate_json(str(message.content.config_records["reply"]["json"]))
    except (KeyError, ValidationError):
        return None
    return Answer(site=reply.site, reply=reply)


def _refusal(message: Message) -> Answer | None:
    if message.error.code != REFUSED:
        return None
    refusal = Refusal.model_validate_json(message.error.reason or "")
    return Answer(site=refusal.site, fault=refusal.sentence())


def _absent(site: str) -> Answer:
    return Answer(site=site, fault="it is not connected, or its client app does not start; its agent's log says why")
