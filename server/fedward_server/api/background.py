"""What works behind the routes while a coordinator serves, each as a block that ends it in order."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from sqlalchemy import URL

from fedward_server.database.database import Database
from fedward_server.errors import ConflictError, DatabaseAwayError
from fedward_server.keys import queries as keys
from fedward_server.keys.models import Role
from fedward_server.keys.service import create_key
from fedward_server.runs import queries as runs
from fedward_server.scheduler.leadership import LEASE_S, Leadership
from fedward_server.scheduler.scheduler import Scheduler
from fedward_server.sites.fleet import Fleet
from fedward_server.sites.service import OFFLINE_S, RETURN_S

LOOK_S = 1.0


def end_this_process() -> None:
    """End as if told to by SIGTERM."""
    signal.raise_signal(signal.SIGTERM)


@asynccontextmanager
async def opened(place: Path | URL) -> AsyncIterator[Database]:
    """A database that is closed when the block ends."""
    database = Database(place)
    try:
        yield database
    finally:
        await database.close()


async def prepare_database(
    database: Database, leadership: Leadership, place: str, tell_key: Callable[[str], None]
) -> None:
    """Bring the tables up to date, become the one that acts on them, and make the first key where there is none.

    Raises:
        ConflictError: Another coordinator acts.
        DatabaseAwayError: The database does not answer.
    """
    await database.migrate()
    await _become_leader(database, leadership, place)
    async with database.writing() as session:
        await runs.forget_leases(session)  # whoever held them is gone
        await runs.ask_until(session, time.time() + RETURN_S + OFFLINE_S)
        first = None if await keys.all_keys(session) else await create_key(session, "admin", Role.ADMIN)
    if first is not None:
        tell_key(first.key)


async def _become_leader(database: Database, leadership: Leadership, place: str) -> None:
    """Wait for the lease of one that may have ended without a word, as in a power cut, but not of one that lives."""
    deadline = time.monotonic() + LEASE_S
    while True:
        try:
            async with database.writing() as session:
                return await leadership.take(session, place)
        except ConflictError:
            if time.monotonic() > deadline:
                raise
        await asyncio.sleep(LOOK_S)


@asynccontextmanager
async def acting(leadership: Leadership, database: Database, lost: Callable[[], None]) -> AsyncIterator[None]:
    """Stay the one that acts on the database while the block lasts."""
    renewing = asyncio.create_task(leadership.keep(database, lost))
    try:
        yield
    finally:
        renewing.cancel()
        with suppress(asyncio.CancelledError):
            await renewing


@asynccontextmanager
async def scheduling(scheduler: Scheduler) -> AsyncIterator[None]:
    """Carry runs out while the block lasts; then end their attempts, which are taken up at the next start."""
    loop = asyncio.create_task(scheduler.run())
    try:
        yield
    finally:
        scheduler.end()
        await loop
        with suppress(DatabaseAwayError):  # then they live on, and are adopted at the next start
            await scheduler.end_attempts()


@asynccontextmanager
async def noting(fleet: Fleet, database: Database) -> AsyncIterator[None]:
    """Write heartbeats down while the block lasts."""
    writing = asyncio.create_task(fleet.presence.keep_writing(database))
    try:
        yield
    finally:
        writing.cancel()
        with suppress(asyncio.CancelledError):
            await writing
        with suppress(DatabaseAwayError):
            await fleet.presence.write(database)


@asynccontextmanager
async def keeping_superlink(fleet: Fleet, database: Database) -> AsyncIterator[None]:
    """Keep the SuperLink of enrolled sites alive while the block lasts; then end it."""
    keeping = asyncio.create_task(fleet.keep_superlink(database))
    try:
        yield
    finally:
        fleet.end()
        await keeping
