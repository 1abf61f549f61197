"""The loop that carries runs from state to state in the background of the API."""

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress

from fedward_server.database.database import Database
from fedward_server.engines.attempts import Status
from fedward_server.runs import queries
from fedward_server.scheduler.leadership import Leadership
from fedward_server.scheduler.task import lease_task, write_back
from fedward_server.scheduler.work import GRACE_S, Work

log = logging.getLogger(__name__)

IDLE_S = 0.1
PATIENCE_S = 2.0


class Scheduler:
    """Works on one run at a time; attempts themselves are processes and go on meanwhile.

    Args:
        database: Holds the runs.
        work: What is done for a run.
        leadership: This process's claim to act.
        lost: Called when another coordinator acts in this one's stead; it does nothing any more.
        max_active: Runs that may be under way at a time.
    """

    def __init__(
        self,
        database: Database,
        work: Work,
        leadership: Leadership,
        *,
        max_active: int = 1,
        lost: Callable[[], None] = lambda: None,
    ) -> None:
        self._database = database
        self._work = work
        self._leadership = leadership
        self._lost = lost
        self._max_active = max_active
        self._ending = asyncio.Event()

    async def run(self) -> None:
        """Work until told to end. A fault is logged and tried again: the loop outlives a database that is away."""
        while not self._ending.is_set():
            try:
                worked = await self.step()
            except Exception:
                log.exception("the scheduler met a fault and tries again")
                await self._rest(PATIENCE_S)
                continue
            if not worked:
                await self._rest(IDLE_S)

    def end(self) -> None:
        """Let the loop finish what it is at and end: cut short, it would forget an attempt that it has just started."""
        self._ending.set()

    async def step(self) -> bool:
        """Work on the run that has waited longest.

        Returns:
            Whether there was one.
        """
        async with self._database.writing() as session:
            acts = await self._leadership.renew(session)
            task = await lease_task(session, max_active=self._max_active) if acts else None
        if not acts:
            self._resign()
        if task is None:
            return False
        finding = await asyncio.to_thread(self._work.do, task)
        async with self._database.writing() as session:
            await write_back(session, task, finding)
        return True

    def _resign(self) -> None:
        log.error("another coordinator acts on this database: this one ends")
        self._ending.set()
        self._lost()

    async def end_attempts(self) -> None:
        """End every attempt; its run is taken up when a coordinator starts again."""
        async with self._database.reading() as session:
            handles = [row.handle for row in await queries.active_runs(session) if row.handle]
        deadline = time.monotonic() + GRACE_S
        while alive := [handle for handle in handles if self._work.attempts.poll(handle) is Status.ALIVE]:
            for handle in alive:
                self._work.attempts.stop(handle, by_force=time.monotonic() > deadline)
            await asyncio.sleep(IDLE_S)

    async def _rest(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._ending.wait(), seconds)
