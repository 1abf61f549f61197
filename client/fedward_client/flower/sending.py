"""Mends how Flower's SuperNode sends a reply while the connection breaks, e.g. as the coordinator is killed.

A reply is announced, and its pieces are sent for a session that the SuperLink names. A call that broke off is repeated,
and two of them mean another thing the second time:

- A piece that has arrived is refused. Flower takes that for a failure, and drops the reply with what is still to come.
- A reply that has been announced, and that the round loop has begun to fetch, lacks nothing, by an answer that names no
  session of use. Flower takes that for the end, and sends no piece.

Either way the SuperLink notices after three minutes (``OBJECT_PUSH_SESSION_TTL_SECONDS``), for which the round waits.
Here a piece that is refused is one that is there, and a reply that lacks nothing is sent in full, for whatever session.
"""

import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from types import ModuleType
from typing import Any

import httpx
from flwr.app import Message
from flwr.supercore.inflatable.inflatable_object import iterate_object_tree
from flwr.supercore.inflatable.inflatable_utils import ObjectPushError

PUSH, CONTENTS = "_push_messages", "push_object_contents_from_iterable"
ANY_SESSION = ""  # the SuperLink looks for one that waits for the piece
# A busy database refuses for a moment, too. Flower itself has waited for it for 5 s by then.
PAUSES_S = (0.2, 1.0)

Pieces = Iterable[tuple[str, bytes]]
PushPiece = Callable[[str, bytes], None]
Send = Callable[[Message, Any, float], tuple[set[str], str]]


def mend_sending(module: ModuleType) -> None:
    """Mend the two functions by which Flower's loop sends replies, in its module."""
    functions = vars(module)
    functions[PUSH] = partial(_push, functions[PUSH])
    functions[CONTENTS] = partial(_push_contents, functions[CONTENTS])


def _push(flowers: Callable[..., None], *, send: Send, **rest: Any) -> None:
    """Send the replies that are there, by Flower's function."""

    def announce(message: Message, tree: Any, runtime: float) -> tuple[set[str], str]:
        missing, session = send(message, tree, runtime)
        if missing:
            return missing, session
        return {node.object_id for node in iterate_object_tree(tree)}, ANY_SESSION

    flowers(send=announce, **rest)


def _push_contents(flowers: Callable[[Pieces, PushPiece], None], contents: Pieces, push_object_fn: PushPiece) -> None:
    """Send pieces of a reply, by Flower's function."""
    flowers(contents, partial(_push_piece, push_object_fn))


def _push_piece(push: PushPiece, piece: str, content: bytes) -> None:
    for pause_s in PAUSES_S:
        try:
            return push(piece, content)
        except (ObjectPushError, httpx.HTTPStatusError):
            time.sleep(pause_s)
    with suppress(ObjectPushError):  # it is there; or the reply was given up, of which the round loop hears by itself
        push(piece, content)
    return None
