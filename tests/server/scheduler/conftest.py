"""A database with one submitted run, and attempts that only pretend."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import URL, update

from fedward_core.spec import Spec
from fedward_server.database.database import Database
from fedward_server.engines.attempts import AttemptJob, Handle, Outcome, Status
from fedward_server.home import Home
from fedward_server.runs.folder import RunFolder
from fedward_server.runs.models import CreateRunRequest
from fedward_server.runs.queries import run_named
from fedward_server.runs.rows import RunRow
from fedward_server.runs.service import submit_run
from fedward_server.scheduler.leadership import Leadership
from fedward_server.scheduler.scheduler import Scheduler
from fedward_server.scheduler.work import Work
from fedward_server.sites.network import Network
from fedward_server.studies.models import CreateStudyRequest
from fedward_server.studies.service import create_study

STUDY = CreateStudyRequest(name="drill", sites=("a", "b", "c"))
SPEC = {
    "name": "drill",
    "dataset": {"name": "none"},
    "stages": [{"name": "only", "method": "rehearsal", "rounds": 1}],
}


class PretendedAttempts:
    """Attempts without processes.

    Attributes:
        alive: Whether the newest one is under way.
        started: How many were started.
        jobs: What each was to carry out.
        stopped: How each stop was asked for.
        ending: The outcome of the newest; None for one that died without a word.
        refuses: Raised at each start.
    """

    def __init__(self) -> None:
        self.alive = False
        self.started = 0
        self.jobs: list[AttemptJob] = []
        self.stopped: list[bool] = []
        self.ending: Outcome | None = None
        self.refuses: Exception | None = None

    def start(self, folder: RunFolder, job: AttemptJob) -> Handle:
        if self.refuses is not None:
            raise self.refuses
        self.started += 1
        self.jobs.append(job)
        self.alive = True
        return {"number": self.started}

    def find(self, folder: RunFolder) -> Handle | None:
        return {"number": self.started} if self.alive else None

    def poll(self, handle: Handle) -> Status:
        return Status.ALIVE if self.alive else Status.ENDED

    def outcome(self, folder: RunFolder) -> Outcome | None:
        return self.ending

    def stop(self, handle: Handle, *, by_force: bool = False) -> None:
        self.stopped.append(by_force)


class Office:
    """A scheduler with its database.

    Attributes:
        database: Holds the runs.
        home: Where they have their folders.
        attempts: What stands in for processes.
        keeper: What stands in for the SuperLink's keeper.
        work: What is done for a run.
        leadership: The claim to act.
        scheduler: What is tried.
        spec: Of a rehearsal.
    """

    spec = SPEC

    def __init__(self, folder: Path, place: Path | URL, keeper: Any) -> None:
        self.home = Home(folder)
        self.database = Database(place)
        self.attempts = PretendedAttempts()
        self.keeper = keeper
        self.work = Work(self.home, self.attempts, Network(keeper=keeper))
        self.leadership = Leadership()
        self.scheduler = Scheduler(self.database, self.work, self.leadership)

    async def open(self) -> None:
        await self.database.migrate()
        async with self.database.writing() as session:
            await self.leadership.take(session, "here")
        await self.submit()

    async def submit(self, run: str = "run-1") -> None:
        request = CreateRunRequest(study="drill", spec=SPEC, run=run)
        async with self.database.writing() as session:
            await create_study(session, STUDY, STUDY.sites)
            await submit_run(session, request, Spec.parse(SPEC), None)

    async def step_to(self, state: str, run: str = "run-1") -> Any:
        """Work until the run stands somewhere; the scheduler never waits here, as every run is made due."""
        for _ in range(20):
            async with self.database.writing() as session:
                await session.execute(update(RunRow).values(due_s=0.0))
            await self.scheduler.step()
            async with self.database.reading() as session:
                row = await run_named(session, run)
            if row.state == state:
                return row
        raise AssertionError(f"the run is {row.state}: {row.reason}")


@pytest.fixture
def in_office(tmp_path: Path, place: Path | URL, keeper: Any) -> Callable[[Callable[[Any], Awaitable[None]]], None]:
    """Do something with a scheduler that has one submitted run."""

    def run(work: Callable[[Office], Awaitable[None]]) -> None:
        async def inner() -> None:
            office = Office(tmp_path, place, keeper)
            try:
                await office.open()
                await work(office)
            finally:
                await office.database.close()

        asyncio.run(inner())

    return run
