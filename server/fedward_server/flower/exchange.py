"""The exchange over Flower's Grid: the same for the inline grid, Ray and a SuperLink.

message: {"order": JSON, "arrays": one ArrayRecord}      reply: {"reply": JSON, "group.<name>": one ArrayRecord each}
"""

import threading
import time
from collections.abc import Iterator, Mapping

from flwr.app import Array, ArrayRecord, ConfigRecord, Message, RecordDict
from flwr.serverapp import Grid
from pydantic import ValidationError

from fedward_core.arrays import Arrays
from fedward_core.order import Order, Reply, Work
from fedward_server.rounds.exchange import Answer, Errand

MESSAGE_TYPES = {Work.DESCRIBE: "query", Work.TRAIN: "train", Work.EVALUATE: "evaluate"}
GROUP = "group."


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
        grid: Grid,
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

    def send(self, errands: Mapping[str, Errand]) -> None:
        """Push one message for each site. Weights that several sites get are encoded once."""
        records: dict[int, ArrayRecord] = {}
        messages: dict[str, Message] = {}
        for site, errand in errands.items():
            key = id(errand.arrays)
            if key not in records:
                records[key] = _record(errand.arrays)
            messages[site] = self._message(site, errand.order, records[key])
        self._grid.push_messages(list(messages.values()))
        for site, message in messages.items():
            if message.metadata.message_id:
                self._out[message.metadata.message_id] = site
            else:
                self._unreachable.append(site)

    def receive(self, timeout_s: float) -> Iterator[Answer]:
        """Answers as they come; one message is held at a time."""
        deadline = time.monotonic() + timeout_s
        while self._unreachable:
            yield Answer(site=self._unreachable.pop(), fault="its node could not be reached")
        while self._out and time.monotonic() < deadline:
            if self._stop.is_set():
                raise KeyboardInterrupt
            arrived = False
            for message_id in list(self._out):
                replies = list(self._grid.pull_messages([message_id]))
                while replies:
                    arrived = True
                    yield _answer(self._out.pop(message_id), replies.pop())
            if not arrived and self._poll_s:
                time.sleep(self._poll_s)
        self._out.clear()

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


def _record(arrays: Arrays) -> ArrayRecord:
    return ArrayRecord({name: Array(ndarray=array) for name, array in arrays.items()})


def _answer(site: str, message: Message) -> Answer:
    """Read a reply, and take it apart meanwhile: one model is held, not two.

    An error's text stays unread: it is a site's, and may quote what must not leave it.
    """
    if message.has_error():
        return Answer(
            site=site, fault=f"its client app failed (Flower error {message.error.code}); its own log says why"
        )
    try:
        reply = Reply.model_validate_json(str(message.content.config_records["reply"]["json"]))
        groups = {
            key.removeprefix(GROUP): {name: record.pop(name).numpy() for name in list(record)}
            for key, record in message.content.array_records.items()
            if key.startswith(GROUP)
        }
    except (KeyError, ValueError, TypeError, ValidationError):
        return Answer(site=site, fault="its answer cannot be read: expected a reply of this version of Fedward")
    return Answer(site=site, reply=reply, groups=groups)
