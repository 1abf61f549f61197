"""The exchange over Flower's Grid: the same for the inline grid, Ray and a SuperLink.

message: {"order": JSON, "arrays": packed}      reply: {"reply": JSON, "group.<name>": packed, for each group}

Packed arrays are one Flower array: each costs several journeys, whatever its size.
"""

import threading
import time
from collections.abc import Iterator, Mapping

from flwr.app import Array, ArrayRecord, ConfigRecord, Message, RecordDict
from flwr.common.constant import ErrorCode
from flwr.serverapp import Grid
from pydantic import ValidationError

from fedward_core.arrays import Arrays
from fedward_core.order import Order, Reply, Work
from fedward_core.packed_arrays import pack, unpack
from fedward_core.refusal import REFUSED, Ground, Refusal
from fedward_server.flower.patient_grid import BrokenReplyError, Messenger
from fedward_server.rounds.exchange import Answer, Errand, Loss

MESSAGE_TYPES = {Work.DESCRIBE: "query", Work.PLAN: "query.plan", Work.TRAIN: "train", Work.EVALUATE: "evaluate"}
UNREADABLE = "its answer cannot be read: expected a reply of this version of Fedward"
PACKED = "packed"
GROUP = "group."
# Decided here: some ten thousand figures, or as many tensors in the plan of a model. Events keep what a site tells.
MOST_CHARS = 2**20
# Flower's words for a node that is not there, for an answer that broke off on its way, which it notices after three
# minutes, and for an app of which it has not heard for a minute.
LOSSES = {
    ErrorCode.NODE_UNAVAILABLE: Loss.NODE,
    ErrorCode.MESSAGE_UNAVAILABLE: Loss.NODE,
    ErrorCode.CLIENT_APP_CRASHED: Loss.APP,
}


class GridExchange:
    """Sends errands as messages, one node for each site.

    Args:
        grid: Flower's grid.
        nodes: The node of each site.
        poll_s: Seconds between two looks for replies; 0 where the grid itself waits.
        ttl_s: How long a message lives.
        stop: When set, receiving ends at once.
    """

    def __init__(
        self,
        grid: Messenger,
        nodes: Mapping[str, int],
        *,
        poll_s: float,
        ttl_s: float,
        stop: threading.Event | None = None,
    ) -> None:
        self._grid = grid
        self._nodes = dict(nodes)
        self._poll_s = poll_s
        self._ttl_s = ttl_s
        self._stop = stop or threading.Event()
        self._out: dict[str, str] = {}
        self._unreachable: list[str] = []
        self._records: list[ArrayRecord] = []

    def send(self, errands: Mapping[str, Errand], *, once_more: bool = False) -> None:
        """Push one message for each site. Weights that several sites get are encoded once.

        Args:
            errands: The errand of each site.
            once_more: Whether answers to the same errands, sent before, are waited for too; the first one counts.
        """
        records: dict[int, ArrayRecord] = {}
        messages: dict[str, Message] = {}
        for site, errand in errands.items():
            key = id(errand.arrays)
            if key not in records:
                records[key] = _record(errand.arrays)
            messages[site] = self._message(site, errand.order, records[key])
        self._records += records.values()
        self._grid.push_messages(list(messages.values()))
        if not once_more:
            self.forget(*messages)
        for site, message in messages.items():
            if message.metadata.message_id:
                self._out[message.metadata.message_id] = site
            else:
                self._unreachable.append(site)

    def receive(self, timeout_s: float) -> Iterator[Answer]:
        """Answers as they come; one message is held at a time."""
        deadline = time.monotonic() + timeout_s
        while (self._out or self._unreachable) and time.monotonic() < deadline:
            if self._stop.is_set():
                raise KeyboardInterrupt
            waiting = len(self._out)
            yield from self.arrived()
            if len(self._out) == waiting and self._poll_s:
                time.sleep(self._poll_s)
        self._out.clear()
        self._unreachable.clear()
        self._let_go()

    def arrived(self) -> Iterator[Answer]:
        """The answers that are there now; one message is held at a time."""
        while self._unreachable:
            yield Answer(site=self._unreachable.pop(), fault="its node could not be reached", loss=Loss.NODE)
        for message_id in list(self._out):
            replies = self._pulled(message_id) if message_id in self._out else []
            while replies:
                site = self._out.pop(message_id)
                self.forget(site)
                self._let_go()
                yield _answer(site, replies.pop())

    def find(self, nodes: Mapping[str, int]) -> None:
        """Say where sites are from now on."""
        self._nodes |= nodes

    def forget(self, *sites: str) -> None:
        """Wait for the answers of sites no more."""
        self._out = {message_id: site for message_id, site in self._out.items() if site not in sites}
        self._unreachable = [site for site in self._unreachable if site not in sites]

    def _pulled(self, message_id: str) -> list[Message | None]:
        """The reply to a message, if it is there; None for one that cannot be put together."""
        try:
            return list(self._grid.pull_messages([message_id]))
        except BrokenReplyError:
            return [None]

    def _let_go(self) -> None:
        """Take weights out of messages that nobody waits for: a message refers to itself, and so outlives its use."""
        if self._out:
            return
        for record in self._records:
            record.clear()
        self._records.clear()

    def _message(self, site: str, order: Order, record: ArrayRecord) -> Message:
        content = RecordDict({"order": ConfigRecord({"json": order.model_dump_json()}), "arrays": record})
        return Message(
            content=content,
            dst_node_id=self._nodes[site],
            message_type=MESSAGE_TYPES[order.work],
            ttl=self._ttl_s,
            group_id=f"{order.stage}-{order.round}",
        )


def find_sites(grid: Grid, run: str, *, num_sites: int, timeout_s: float, poll_s: float) -> dict[str, int]:
    """The node of each site, where nodes have no names: each is asked for its card, which names the site.

    Args:
        grid: A simulation's grid.
        run: The run's id.
        num_sites: How many nodes to wait for.
        timeout_s: How long to wait, for the nodes and then for their answers.
        poll_s: Seconds between two looks.
    """
    deadline = time.monotonic() + timeout_s
    while len(nodes := {str(node_id): node_id for node_id in grid.get_node_ids()}) < num_sites:
        if time.monotonic() > deadline:
            return {}
        time.sleep(poll_s)
    exchange = GridExchange(grid, nodes, poll_s=poll_s, ttl_s=timeout_s)
    order = Order(run=run, work=Work.DESCRIBE)
    exchange.send({node: Errand(order=order) for node in nodes})
    answers = exchange.receive(timeout_s)
    return {answer.reply.site: nodes[answer.site] for answer in answers if answer.reply}


def read_refusal(message: Message) -> Refusal | None:
    """What a site says in an error of its own; None from any other error, whose text stays unread."""
    if message.error.code != REFUSED:
        return None
    try:
        return Refusal.model_validate_json(message.error.reason or "")
    except ValidationError:
        return None


def read_reply(message: Message) -> Reply:
    """The facts of an answer.

    Raises:
        KeyError: There are none.
        ValueError: They are no reply, or a longer one than anybody needs.
    """
    text = str(message.content.config_records["reply"]["json"])
    if len(text) > MOST_CHARS:
        raise ValueError("a reply of so many words is none")
    return Reply.model_validate_json(text)


def _record(arrays: Arrays) -> ArrayRecord:
    data = pack(arrays)
    return ArrayRecord({PACKED: Array("uint8", (len(data),), PACKED, data)})


def _answer(site: str, message: Message | None) -> Answer:
    """Read a reply; its arrays are views of what came, so that one model is held, not two."""
    if message is None:
        return Answer(site=site, fault=UNREADABLE)
    if message.has_error():
        return _failure(site, message)
    try:
        reply = read_reply(message)
        groups = {
            key.removeprefix(GROUP): unpack(record.pop(PACKED).data)
            for key, record in message.content.array_records.items()
            if key.startswith(GROUP)
        }
    except (KeyError, ValueError, TypeError):
        return Answer(site=site, fault=UNREADABLE)
    return Answer(site=site, reply=reply, groups=groups)


def _failure(site: str, message: Message) -> Answer:
    """An error in words. A site's own errors are codes; the text of any other may quote what must not leave it."""
    refusal = read_refusal(message)
    if refusal is not None:
        loss = Loss.APP if refusal.ground is Ground.APP_DIED else None
        return Answer(site=site, fault=refusal.sentence(), loss=loss)
    code = message.error.code
    fault = f"its client app failed (Flower error {code}); its own log says why"
    return Answer(site=site, fault=fault, loss=LOSSES.get(code))
