"""Events of a run as a stream: to its end, and on from there where the run is resumed."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

from fedward_server.database.database import Database
from fedward_server.runs.rows import RunRow
from fedward_server.runs.service import resume_run
from fedward_server.runs.states import RunState, move_run
from fedward_server.runs.stream import stream_events
from fedward_server.studies.rows import StudyRow


async def fail_run(database: Database, reason: str = "the disk was full") -> None:
    await database.migrate()
    async with database.writing() as session:
        session.add(StudyRow(name="drill", data=None, sites=[], classes=[], created_s=0.0))
        await session.flush()
        row = RunRow(
            id="run-1",
            study="drill",
            spec={"name": "drill"},
            spec_digest="",
            sites=[],
            engine="inline",
            workers=1,
            state=RunState.SUBMITTED,
            reason="",
            attempt=0,
            num_events=0,
            created_s=0.0,
            moved_s=0.0,
        )
        session.add(row)
        await session.flush()
        move_run(session, row, RunState.FAILED, reason)


async def allow() -> None:
    """Whoever listens may."""


async def ids(stream: AsyncIterator[str], *, until: str) -> list[str]:
    """The first lines of what is told, up to one."""
    told = []
    async for text in stream:
        told.append(text.splitlines()[0])
        if told[-1] == until:
            break
    return told


def test_who_was_told_of_a_failure_hears_the_rest_with_a_new_request_once_the_run_is_resumed(tmp_path: Path) -> None:
    async def check() -> None:
        database = Database(tmp_path / "coordinator.db")
        await fail_run(database)
        assert await ids(stream_events(database, "run-1", 0, allow), until="event: end") == ["id: 1", "event: end"]
        async with database.writing() as session:
            await resume_run(session, "run-1")
        assert await ids(stream_events(database, "run-1", 1, allow), until="id: 2") == ["id: 2"]
        await database.close()

    asyncio.run(check())


def test_who_listens_while_a_failed_run_is_resumed_hears_on(tmp_path: Path) -> None:
    async def check() -> None:
        database = Database(tmp_path / "coordinator.db")
        await fail_run(database)
        stream = stream_events(database, "run-1", 0, allow)
        assert (await anext(stream)).startswith("id: 1\n")
        async with database.writing() as session:
            await resume_run(session, "run-1")
        assert (await anext(stream)).startswith("id: 2\n")
        await database.close()

    asyncio.run(check())


def test_a_sign_that_ends_lines_elsewhere_ends_no_event(tmp_path: Path) -> None:
    """Readers of HTTP, as httpx, split an answer at each of them."""
    reason = "site Zürich left:\u2028a\u2029b\x85c"

    async def check() -> None:
        database = Database(tmp_path / "coordinator.db")
        await fail_run(database, reason)
        _, _, data, *rest = (await anext(stream_events(database, "run-1", 0, allow))).splitlines()
        assert json.loads(data.removeprefix("data: "))["facts"]["reason"] == reason
        assert rest == [""]
        await database.close()

    asyncio.run(check())
