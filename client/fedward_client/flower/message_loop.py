"""Mends how Flower's SuperNode works through messages when a run ends meanwhile.

Flower's loop fetches a message, waits for a reply, sends it, and fetches the next. Three things go wrong in it:

- A run that ends while its message is fetched leaves the message and a task behind. The task is given to an app, which
  waits for the message's content for ever. Here both are forgotten.
- A reply that comes while none is waited for, e.g. of a run that has ended, is taken for the one that is waited for,
  which then stays until the next message. Here it is sent at the next look.
- While a reply is waited for, nobody learns that its run has ended: the next run waits for work that nobody wants. Here
  the SuperLink is asked now and then, and the loop goes on; the agent ends the app before it starts the next.
"""

import time
from collections.abc import Callable
from types import ModuleType
from typing import Any

import httpx
from flwr.app import Error, Message
from flwr.common.constant import ErrorCode, Status, SubStatus
from flwr.supercore.run import RunNotRunningException
from flwr.supernode.nodestate.in_memory_nodestate import InMemoryNodeState

FETCH = "_pull_and_store_message"
ASK_EVERY_S = 5.0
ENDED = Error(code=ErrorCode.UNKNOWN, reason="the run has ended")

Fetch = Callable[..., int | None]


class MessageLoop:
    """Stands in for the function by which Flower's loop fetches a message.

    Args:
        fetch: Flower's own.
    """

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch
        self._state: InMemoryNodeState | None = None
        self._get_run: Callable[[int], object] | None = None
        self._run: int | None = None
        self._asked = 0.0

    def __call__(
        self, *, state: InMemoryNodeState, object_store: Any, receive: Callable[[], Any], get_run: Any, **rest: Any
    ) -> int | None:
        """Fetch a message, see Flower's function.

        Returns:
            The run whose reply is to be waited for; also when a reply is there already. None if there is nothing to do.
        """
        got: list[Message] = []

        def receive_and_note() -> Any:
            received = receive()
            got.extend(received[:1] if received else ())
            return received

        self._state, self._get_run, self._asked = state, get_run, time.monotonic()
        self._run = self._fetch(
            state=state, object_store=object_store, receive=receive_and_note, get_run=get_run, **rest
        )
        if self._run is None and got:
            _forget(state, object_store, got[0])
        return 0 if self._run is None and _has_replies(state) else self._run

    def while_waiting(self) -> None:
        """To be called while a reply is waited for: wait no more if its run has ended."""
        if not self._run or self._get_run is None or time.monotonic() - self._asked < ASK_EVERY_S:
            return
        self._asked = time.monotonic()
        try:
            self._get_run(self._run)
        except httpx.HTTPError:  # it is asked again
            return
        except RunNotRunningException:
            assert self._state is not None
            self._state._store_error_replies({self._run}, ENDED)


def mend_message_loop(module: ModuleType) -> MessageLoop:
    """Put the mended function into the module of Flower's loop."""
    loop = MessageLoop(vars(module)[FETCH])
    vars(module)[FETCH] = loop
    return loop


def _forget(state: InMemoryNodeState, object_store: Any, message: Message) -> None:
    """Forget a message that was not fetched whole, and the task for it."""
    state.delete_messages(message_ids=[message.metadata.message_id])
    object_store.delete(message.metadata.message_id)
    for task in state.get_tasks(statuses=[Status.PENDING, Status.STARTING, Status.RUNNING]):
        if task.run_id == message.metadata.run_id:
            state.finish_task(task.task_id, SubStatus.STOPPED, "the run has ended")


def _has_replies(state: InMemoryNodeState) -> bool:
    with state.lock_msg_store:
        entries = list(state.msg_store.values())
    return any(entry.message.metadata.reply_to_message_id and not entry.is_retrieved for entry in entries)
