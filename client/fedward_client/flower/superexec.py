"""The site's SuperExec: takes the SuperNode's tasks, and starts a client app only if the site has approved it.

A task names the app's digest before any of its code is unpacked. Whatever is not approved is answered by a coded error,
which reaches the run at once; nothing of the app is touched. An app that dies, or is ended, is answered for, too.
"""

import itertools
import logging
import shutil
import time
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import httpx
from flwr.proto.runtime_pb2 import AcquireTaskRequest
from flwr.proto.task_pb2 import Task
from flwr.supercore.constant import TaskType

from fedward_client.flower.answering import answer_for, give_up
from fedward_client.flower.runtime import connect
from fedward_client.flower.work import Work
from fedward_core.refusal import Ground, Refusal

# A SuperNode hands out a message when the one before has been answered, so an app that is still there is about to end.
ASK_S = 1.0  # decided here: how often tasks are asked for while an app is at work; each time is a call
LEAVE_S = 5.0
POLL_S = 0.02

log = logging.getLogger(__name__)


class Approvals(Protocol):
    """Knows what the site has approved; asked anew for every task."""

    def approves(self, app: str) -> bool:
        """Whether an app bundle may run, by its digest."""


class Launcher(Protocol):
    """Starts client apps."""

    def start(self, address: str, token: str, app: str, note: Path) -> None:
        """Start the client app of a task.

        Args:
            address: The SuperNode's Runtime API.
            app: The digest of the bundle that was approved; any other is refused when it has come.
            token: Lets the app fetch the task's message and answer it.
            note: Where the app notes its work, see :mod:`fedward_client.flower.work_note`.
        """


class SuperExec:
    """Takes tasks of one SuperNode. All calls are made from one thread.

    Args:
        site: The site's name.
        address: ``host:port`` of the SuperNode's Runtime API, on loopback.
        approvals: Which apps may run.
        launcher: Starts them.
        notes: A folder for the notes of apps at work; what is in it is removed.
        secret: What the SuperNode asks of whoever takes its tasks.
    """

    def __init__(  # noqa: PLR0913 - what it serves, and what it needs for that
        self,
        site: str,
        address: str,
        *,
        approvals: Approvals,
        launcher: Launcher,
        notes: Path,
        secret: bytes | None = None,
    ) -> None:
        self._site = site
        self._address = address
        self._approvals = approvals
        self._launcher = launcher
        shutil.rmtree(notes, ignore_errors=True)
        self._notes = (notes / f"{number}.json" for number in itertools.count(1))
        self._works: list[Work] = []
        self._asked = -ASK_S
        self._client = connect(address, secret=secret)

    def step(self) -> bool:
        """Look after the apps at work, and take one task if there is one.

        Returns:
            Whether there was one. A SuperNode that does not answer, e.g. because it is starting, has none; a task whose
            refusal does not reach it is offered again. Nor is there one where a coordinator has sent what makes no
            message: no task ends the agent.
        """
        try:
            self._look_after_apps()
            if not self._asks_now():
                return False
            offer = self._client.AcquireTask(AcquireTaskRequest(supported_task_types=[TaskType.CLIENT_APP]))
            if not (offer.HasField("task") and offer.token):
                return False
            self.take(offer.task, offer.token)
        except httpx.HTTPError:
            return False
        except Exception:
            log.exception("site %s: a task could not be taken or answered", self._site)
            return False
        return True

    def _asks_now(self) -> bool:
        """Whenever nothing is at work; else now and then, for a run that was started meanwhile."""
        now = time.monotonic()
        if now < self._asked + ASK_S and any(work.is_alive for work in self._works):
            return False
        self._asked = now
        return True

    def take(self, task: Task, token: str) -> None:
        """Start a task's client app, or refuse the task."""
        if task.type != TaskType.CLIENT_APP:
            log.warning("site %s: a task of type %r was offered and refused", self._site, task.type)
            give_up(self._address, token, "this site runs client apps only")
        elif not self._approvals.approves(task.fab_hash):
            log.warning("site %s: app %r is not approved, and was refused", self._site, task.fab_hash)
            answer_for(self._address, token, self._refusal(Ground.UNAPPROVED_APP))
        else:
            self._end_leftovers()
            work = Work(token=token, note=next(self._notes))
            self._launcher.start(self._address, token, task.fab_hash, work.note)
            self._works.append(work)

    def runs(self) -> tuple[str, ...]:
        """The runs whose client apps are at work."""
        return tuple(sorted({work.run for work in self._works if work.run and work.is_alive}))

    def end_run(self, run: str) -> None:
        """End the client apps of a run at once; the run is told so at the next step. To end what has ended is fine.

        They get no time to clear up, and need none: private state is written whole or not at all.
        """
        for work in self._works:
            if work.run == run and work.is_alive:
                log.info("site %s: the client app of run %r is ended on request", self._site, run)
                work.end()

    def close(self) -> None:
        """End the connection."""
        self._client.close()

    def _look_after_apps(self) -> None:
        for work in list(self._works):
            if work.is_over:
                self._works.remove(work)
            elif work.has_died:
                self._works.remove(work)
                self._answer_for(work)

    def _answer_for(self, work: Work) -> None:
        ground = Ground.APP_ENDED if work.was_ended else Ground.APP_DIED
        if ground is Ground.APP_DIED:
            log.warning("site %s: the client app of run %r died: its log may tell why", self._site, work.run)
        try:
            answer_for(self._address, work.token, self._refusal(ground), work.message)
        except httpx.HTTPError:  # the SuperNode has lost the task, and with it whoever waits for an answer
            log.warning("site %s: the SuperNode does not know the task of that app any more", self._site)
        work.forget()

    def _end_leftovers(self) -> None:
        """Let apps leave that have answered, and end those that do not: two attempts never work at a time."""
        deadline = time.monotonic() + LEAVE_S
        while any(work.is_alive for work in self._works) and time.monotonic() < deadline:
            time.sleep(POLL_S)
        for work in self._works:
            if work.is_alive:
                work.end()
                self._give_up(work)
        self._works = [work for work in self._works if work.note.exists()]

    def _give_up(self, work: Work) -> None:
        """End the task of an app that somebody else has answered for."""
        with suppress(httpx.HTTPError):
            give_up(self._address, work.token, "the site works for another run")
        work.forget()

    def _refusal(self, ground: Ground) -> Refusal:
        return Refusal(site=self._site, ground=ground)
