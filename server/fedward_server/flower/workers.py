"""Processes that carry out messages: forked, one thread each, gone when their parent is.

    parent  --message-->  worker  --reply-->  parent         one pipe for each worker, one message at a time

Forking shares what the parent has imported, so a worker starts in milliseconds. A worker ignores Ctrl-C, which the
terminal sends to every process: the parent ends it.
"""

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from flwr.app import Message

Handle = Callable[[Message], Message]

PARENT_CHECK_S = 1.0


class WorkerPool:
    """Carries messages out side by side.

    Args:
        handle: Answers one message; runs in a worker.
        num_workers: How many processes.
    """

    def __init__(self, handle: Handle, num_workers: int) -> None:
        self._context = multiprocessing.get_context("fork")
        self._handle = handle
        self._num_workers = num_workers
        self._processes: dict[Connection, BaseProcess] = {}
        self._idle: list[Connection] = []
        self._queue: deque[Message] = deque()

    def submit(self, message: Message) -> None:
        """Queue a message; workers are started when first needed."""
        if not self._processes:
            self._start()
        self._queue.append(message)
        self._assign()

    def collect(self, timeout_s: float) -> list[Message]:
        """Replies that are there, waiting for one if there is none yet.

        Raises:
            ChildProcessError: A worker died, e.g. because memory ran out.
        """
        replies: list[Message] = []
        busy = [connection for connection in self._processes if connection not in self._idle]
        for connection in wait(busy, timeout_s):
            assert isinstance(connection, Connection)
            try:
                replies.append(connection.recv())
            except EOFError:
                raise ChildProcessError(
                    "a worker process died, perhaps for lack of memory: try fewer workers"
                ) from None
            self._idle.append(connection)
        self._assign()
        return replies

    def close(self) -> None:
        """End every worker."""
        for process in self._processes.values():
            process.kill()
        for connection, process in self._processes.items():
            process.join()
            connection.close()
        self._processes.clear()
        self._idle.clear()
        self._queue.clear()

    def _start(self) -> None:
        for _ in range(self._num_workers):
            ours, theirs = self._context.Pipe()
            inherited = [*self._processes, ours]
            process = self._context.Process(
                target=_work, args=(self._handle, theirs, inherited, os.getpid()), daemon=True
            )
            process.start()
            theirs.close()
            self._processes[ours] = process
        self._idle = list(self._processes)

    def _assign(self) -> None:
        while self._queue and self._idle:
            self._idle.pop(0).send(self._queue.popleft())


def _work(handle: Handle, connection: Connection, inherited: list[Connection], parent: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for other in inherited:
        other.close()
    while _parent_lives(parent):
        if connection.poll(PARENT_CHECK_S):
            try:
                connection.send(handle(connection.recv()))
            except (EOFError, BrokenPipeError):
                return


def _parent_lives(parent: int) -> bool:
    return os.getppid() == parent
