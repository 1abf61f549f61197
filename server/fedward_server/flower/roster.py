"""Which node stands for which site at the moment: told by registered names, or else by asking every node.

A node that was started anew has lost the messages that its predecessor had, so a standing has a beginning.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from flwr.app import ConfigRecord, Message, RecordDict

from fedward_core.order import Order
from fedward_server.flower.exchange import MESSAGE_TYPES, read_refusal, read_reply
from fedward_server.flower.patient_grid import BrokenReplyError, Messenger
from fedward_server.rounds.exchange import Answer


@dataclass(frozen=True, kw_only=True)
class Standing:
    """A node that stands for a site.

    Attributes:
        node: Flower's id of it.
        since: When it was started, in Flower's words.
    """

    node: int
    since: str


class Roster(Protocol):
    """Knows who is there, as of its last look."""

    def look(self) -> None:
        """Look who is there."""

    def standing(self, site: str) -> Standing | None:
        """The node of a site; None while it is not there."""

    def answer(self, site: str) -> Answer | None:
        """What a site has answered to being asked who it is, once; None if it was not asked."""


class NamedRoster:
    """Goes by the names under which nodes were registered; nobody else has the keys to bear them.

    Args:
        grid: The SuperLink's grid.
    """

    def __init__(self, grid: Messenger) -> None:
        self._grid = grid
        self._standings: dict[str, Standing] = {}

    def look(self) -> None:
        """Look who is there."""
        nodes = self._grid.get_nodes()
        self._standings = {n.name: Standing(node=n.node_id, since=n.last_activated_at) for n in nodes}

    def standing(self, site: str) -> Standing | None:
        """The node of a site; None while it is not there."""
        return self._standings.get(site)

    def answer(self, site: str) -> Answer | None:  # noqa: ARG002 - the contract
        """Nobody is asked who it is."""
        return None


class CalledRoster:
    """Asks every node that comes up for its card, and so learns who it is.

    The first node that answers for a site is the site's while it is there, and then the next one: a node whose site was
    killed counts as there for a minute more, while its successor has answered already.

    Args:
        grid: The SuperLink's grid.
        order: Asks for the card.
        sites: Whose nodes are wanted.
        ttl_s: How long a question lives.
    """

    def __init__(self, grid: Messenger, order: Order, sites: Iterable[str], *, ttl_s: float) -> None:
        self._grid = grid
        self._order = order
        self._sites = frozenset(sites)
        self._ttl_s = ttl_s
        self._online: dict[int, str] = {}
        self._asked: set[int] = set()
        self._out: dict[str, int] = {}
        self._claims: dict[int, str] = {}  # the site that each node says it is, in the order of their answers
        self._answers: dict[str, Answer] = {}

    def look(self) -> None:
        """Look who is there, ask whoever is new, and hear what those who were asked have answered."""
        self._online = {node.node_id: node.last_activated_at for node in self._grid.get_nodes()}
        self._ask(sorted(self._online.keys() - self._asked))
        for message_id in list(self._out):
            try:
                replies = list(self._grid.pull_messages([message_id]))
            except BrokenReplyError:  # it tells of no site
                del self._out[message_id]
                continue
            for reply in replies:
                self._take(self._out.pop(message_id), reply)

    def standing(self, site: str) -> Standing | None:
        """The node of a site; None while it is not there."""
        nodes = (node for node, claimed in self._claims.items() if claimed == site and node in self._online)
        return next((Standing(node=node, since=self._online[node]) for node in nodes), None)

    def answer(self, site: str) -> Answer | None:
        """What a site has answered to being asked, once."""
        return self._answers.pop(site, None)

    def _ask(self, nodes: list[int]) -> None:
        messages = [self._question(node) for node in nodes]
        if messages:
            self._grid.push_messages(messages)
        self._asked.update(nodes)
        self._out |= {m.metadata.message_id: m.metadata.dst_node_id for m in messages if m.metadata.message_id}

    def _question(self, node: int) -> Message:
        content = RecordDict({"order": ConfigRecord({"json": self._order.model_dump_json()})})
        message_type = MESSAGE_TYPES[self._order.work]
        return Message(content=content, dst_node_id=node, message_type=message_type, ttl=self._ttl_s, group_id="roll")

    def _take(self, node: int, message: Message) -> None:
        answer = _who(message)
        if answer is None or answer.site not in self._sites or node not in self._online:
            return
        if self.standing(answer.site) is None:
            self._answers[answer.site] = answer
        self._claims[node] = answer.site


def wait_for(roster: Roster, sites: Iterable[str], *, timeout_s: float, poll_s: float) -> None:
    """Look until every site is there, or the time is over."""
    deadline = time.monotonic() + timeout_s
    roster.look()
    while any(roster.standing(site) is None for site in sites) and time.monotonic() < deadline:
        time.sleep(poll_s)
        roster.look()


def _who(message: Message) -> Answer | None:
    """A card, or a refusal; None from a node that tells neither, and so cannot be told apart."""
    if message.has_error():
        refusal = read_refusal(message)
        return Answer(site=refusal.site, fault=refusal.sentence()) if refusal else None
    try:
        reply = read_reply(message)
    except (KeyError, ValueError):
        return None
    return Answer(site=reply.site, reply=reply)
