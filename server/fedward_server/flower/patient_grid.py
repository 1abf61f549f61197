"""A SuperLink's grid that asks again where Flower gives up, and gives up where Flower would go on.

It asks again at HTTP 500, which a busy database causes for a moment. It gives up on a reply that was announced and
whose pieces do not come: Flower waits for two hours, in which no other reply is looked at.
"""

import math
import time
from collections.abc import Callable, Iterable
from typing import Protocol, TypeVar

import httpx
from flwr.app import Message
from flwr.proto.node_pb2 import NodeInfo

from fedward_core.errors import FedwardError

# Decided here: about half a minute in all. Flower's own wait for its database is 5 s.
PAUSES_S = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)

# Decided here: a reply that is whole at the SuperLink is fetched in less.
LEAST_S = 5.0

T = TypeVar("T")


class BrokenReplyError(FedwardError):
    """A reply has come whose pieces make no message: whoever sent it did so wrongly."""


class Messenger(Protocol):
    """What is needed of Flower's grid."""

    def get_nodes(self) -> Iterable[NodeInfo]:
        """The nodes that are there."""

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Send messages; each gets its id."""

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """The replies to messages that are there."""


class PatientGrid:
    """Passes calls on, and repeats one that the SuperLink cannot answer at the moment.

    Args:
        grid: The SuperLink's grid.
    """

    def __init__(self, grid: Messenger) -> None:
        self._grid = grid
        self._pieces_until_s = math.inf

    def wait_for_pieces_until(self, moment_s: float) -> None:
        """Say when, by the monotonic clock, a reply whose pieces are still on their way counts as broken off."""
        self._pieces_until_s = moment_s

    @property
    def piece_patience_s(self) -> float:
        """How long the pieces of a reply that is fetched now are waited for."""
        return max(self._pieces_until_s - time.monotonic(), LEAST_S)

    def get_nodes(self) -> Iterable[NodeInfo]:
        """The nodes that are there."""
        return _patiently(self._grid.get_nodes)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Send messages. To send one twice is to send it once: its id is made of its content."""
        letters = list(messages)
        return _patiently(lambda: self._grid.push_messages(letters))

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """The replies to messages that are there.

        Raises:
            BrokenReplyError: One makes no message. Flower raises whatever it met, and has taken the reply off its list.
        """
        ids = list(message_ids)
        try:
            return _patiently(lambda: self._grid.pull_messages(ids))
        except (httpx.HTTPError, OSError):  # the SuperLink's, and no site's
            raise
        except Exception as error:
            raise BrokenReplyError("a reply cannot be put together from its pieces") from error


def _patiently(call: Callable[[], T]) -> T:
    for pause_s in PAUSES_S:
        try:
            return call()
        except httpx.HTTPStatusError as error:
            if not error.response.is_server_error:
                raise
            time.sleep(pause_s)
    return call()
