"""Keeps the text of Flower's own errors at the site.

What fails around an app, such as a full disk as its bundle is laid out, Flower answers with the text of the exception,
which may name a folder of the site. Here the answer is a code, as from the app itself; the text is in the app's log.
"""

from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any

from flwr.app import Error, Message

from fedward_core.refusal import REFUSED, Ground, Refusal

PUSH = "push_message"


def keep_text_here(module: ModuleType, site: str) -> None:
    """Let the function by which Flower's client app sends its reply send no text, where its module calls it."""
    vars(module)[PUSH] = partial(_push, vars(module)[PUSH], site)


def _push(flowers: Callable[..., None], site: str, client: Any, message: Message, context: Any) -> None:
    if message.has_error() and message.error.code != REFUSED:
        refusal = Refusal(site=site, ground=Ground.APP_FAILED)
        message.error = Error(code=REFUSED, reason=refusal.model_dump_json())
    flowers(client, message, context)
