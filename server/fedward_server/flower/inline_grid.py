"""A Grid inside the process: Flower's messages without Flower's processes, for tests, quick studies and speed."""

from collections.abc import Iterable
from typing import NoReturn

from flwr.app import Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid
from flwr.supercore.task_identity import TaskIdentity

from fedward_server.flower.workers import WorkerPool

CLIENT_APP_RAISED = 2  # Flower's error code for an exception in a ClientApp
WAIT_S = 0.2


class InlineGrid(Grid):
    """Answers each message by calling the ClientApp, here or in forked workers.

    Args:
        client_app: The ClientApp.
        num_nodes: How many virtual nodes; node ids are 1 to this number, partition ids one less.
        workers: Processes; 1 works in this process. Replies do not depend on it.
    """

    def __init__(self, client_app: ClientApp, *, num_nodes: int, workers: int) -> None:
        TaskIdentity.task_id = TaskIdentity.run_id = TaskIdentity.node_id = (
            1  # new messages carry it, as in Flower's own
        )
        self._client_app = client_app
        self._num_nodes = num_nodes
        self._pool = WorkerPool(self._answer, workers) if workers > 1 else None
        self._waiting: dict[str, Message] = {}
        self._replies: dict[str, Message] = {}
        self._count = 0

    def get_node_ids(self) -> Iterable[int]:
        """One id for each virtual node."""
        return range(1, self._num_nodes + 1)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Take messages; workers begin at once, this process when replies are pulled."""
        ids = []
        for message in messages:
            self._count += 1
            message.metadata.__dict__["_message_id"] = f"inline-{self._count}"
            ids.append(message.metadata.message_id)
            if self._pool:
                self._pool.submit(message)
            else:
                self._waiting[message.metadata.message_id] = message
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Replies to these messages that are ready."""
        wanted = list(message_ids)
        if self._pool and not any(message_id in self._replies for message_id in wanted):
            self._keep(self._pool.collect(WAIT_S))
        elif not self._pool:
            self._keep(self._answer(self._waiting.pop(i)) for i in wanted if i in self._waiting)
        return [self._replies.pop(message_id) for message_id in wanted if message_id in self._replies]

    def close(self) -> None:
        """End the workers."""
        if self._pool:
            self._pool.close()

    def _keep(self, replies: Iterable[Message]) -> None:
        for reply in replies:
            self._replies[reply.metadata.reply_to_message_id] = reply

    def _answer(self, message: Message) -> Message:
        node = message.metadata.dst_node_id
        place: dict[str, bool | float | int | str] = {"partition-id": node - 1, "num-partitions": self._num_nodes}
        context = Context(run_id=1, node_id=node, node_config=place, state=RecordDict(), run_config={})
        try:
            return self._client_app(message, context)
        except Exception:  # noqa: BLE001 - as Flower does, an app's exception becomes an error reply
            return Message(error=Error(code=CLIENT_APP_RAISED), reply_to=message)

    # What Grid demands besides, and nobody here needs.

    def set_run(self, run: object) -> NoReturn:
        """Not used: there is one run."""
        raise NotImplementedError

    @property
    def run(self) -> NoReturn:
        """Not used: there is one run."""
        raise NotImplementedError

    def create_message(self, *args: object, **kwargs: object) -> NoReturn:
        """Not used: messages are made with ``Message``."""
        raise NotImplementedError

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> NoReturn:
        """Not used: the round loop pushes and pulls."""
        raise NotImplementedError
