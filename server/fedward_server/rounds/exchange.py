"""How orders reach sites and answers come back; the round loop knows no more of delivery than this."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from fedward_core.arrays import Arrays
from fedward_core.order import Order, Reply


@dataclass(frozen=True, kw_only=True)
class Errand:
    """An order with the weights that go with it."""

    order: Order
    arrays: Arrays = field(default_factory=dict)


class Loss(StrEnum):
    """How an errand was lost on the way, through no fault of its own: it may be sent again."""

    NODE = "node"  # the site's node is not there
    APP = "app"  # the site's client app died


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came back from a site.

    Attributes:
        site: The site that was asked.
        reply: The facts; None if nothing usable came.
        groups: The arrays, by group.
        fault: Why there is no reply, in words that a person at the coordinator may read.
        loss: Whether the errand was lost, and how.
    """

    site: str
    reply: Reply | None = None
    groups: Mapping[str, Arrays] = field(default_factory=dict)
    fault: str = ""
    loss: Loss | None = None


class Exchange(Protocol):
    """Sends errands and receives answers."""

    def send(self, errands: Mapping[str, Errand]) -> None:
        """Send each site its errand; a site that cannot be reached gives an answer with a fault."""

    def receive(self, timeout_s: float) -> Iterator[Answer]:
        """Answers as they come, until every site that was sent an errand has answered, or the time is over.

        What is still out then is forgotten: a late answer is never seen. Errands sent while receiving are waited for
        too.
        """
