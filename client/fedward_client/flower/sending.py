"""Mends how Flower's SuperNode sends a reply while the connection breaks, e.g. as the coordinator is killed.

A call that broke off is repeated. If the SuperLink has got the piece the first time, it does not want it again, which
Flower takes for a failure: it drops the reply, and what is still to come of it. The SuperLink notices that after three
minutes (``OBJECT_PUSH_SESSION_TTL_SECONDS``), for which the round waits.

Here the reply is announced again. That changes nothing where it is known, and tells which pieces are missing.
"""

import logging
import time
from collections.abc import Callable, Iterable
from functools import partial
from types import ModuleType
from typing import Any

import httpx
from flwr.app import Message
from flwr.supercore.inflatable.inflatable_utils import ObjectPushError

PUSH, CONTENTS = "_push_messages", "push_object_contents_from_iterable"
# Decided here: a quarter of a minute in all. Connections that break are waited for without an end by Flower itself.
PAUSES_S = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0)

Pieces = Iterable[tuple[str, bytes]]
PushPiece = Callable[[str, bytes], None]
PushObject = Callable[[int, str, str, bytes], None]
Send = Callable[[Message, Any, float], tuple[set[str], str]]

log = logging.getLogger(__name__)


class Sending:
    """Stands in for the two functions by which Flower's loop sends replies.

    Args:
        push: Flower's own that sends the replies that are there.
        push_contents: Flower's own that sends some pieces of one.
    """

    def __init__(self, push: Callable[..., None], push_contents: Callable[[Pieces, PushPiece], None]) -> None:
        self._push = push
        self._push_contents = push_contents
        self._announce_again: Callable[[], tuple[set[str], PushPiece]] | None = None

    def push(self, *, send: Send, push_object: PushObject, **rest: Any) -> None:
        """Send the replies that are there, see Flower's function."""

        def announce(message: Message, tree: Any, runtime: float) -> tuple[set[str], str]:
            self._announce_again = partial(_announce, send, push_object, message, tree)
            return send(message, tree, runtime)

        self._push(send=announce, push_object=push_object, **rest)

    def push_contents(self, contents: Pieces, push_object_fn: PushPiece) -> None:
        """Send the pieces of the reply that was announced last, until none is missing; see Flower's function.

        Raises:
            ObjectPushError: The SuperLink does not take a piece, not even after a while.
            httpx.HTTPError: It answers with errors, even after a while.
        """
        pieces = dict(contents)
        missing = set(pieces)
        for pause_s in PAUSES_S:
            try:
                self._push_contents(((piece, pieces[piece]) for piece in missing), push_object_fn)
            except (ObjectPushError, httpx.HTTPError) as error:
                log.info("a reply has not arrived whole, and is announced again: %s", type(error).__name__)
            else:
                return
            time.sleep(pause_s)
            assert self._announce_again is not None
            missing, push_object_fn = self._announce_again()
        self._push_contents(((piece, pieces[piece]) for piece in missing), push_object_fn)


def mend_sending(module: ModuleType) -> None:
    """Put the mended functions into the module of Flower's loop."""
    functions = vars(module)
    sending = Sending(functions[PUSH], functions[CONTENTS])
    functions[PUSH], functions[CONTENTS] = sending.push, sending.push_contents


def _announce(send: Send, push_object: PushObject, message: Message, tree: Any) -> tuple[set[str], PushPiece]:
    """Announce a reply once more: what of it is missing, and what sends that."""
    missing, session = send(message, tree, 0.0)  # the time that the app took is counted already
    return missing, partial(push_object, message.metadata.run_id, session)
