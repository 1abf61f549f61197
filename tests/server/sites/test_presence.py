"""Heartbeats that cannot be written are kept, and the newest of each site counts."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from fedward_core.fleet_messages import Heartbeat
from fedward_server.database.database import Database
from fedward_server.errors import DatabaseAwayError
from fedward_server.sites.presence import Presence
from fedward_server.sites.versions import our_versions


def heartbeat(free_disk_bytes: int) -> Heartbeat:
    return Heartbeat(versions=our_versions(), free_disk_bytes=free_disk_bytes, clock_s=0.0)


class Tables:
    """A database that is away at first; what is written is kept, one list for each transaction."""

    def __init__(self, presence: Presence) -> None:
        self.presence = presence
        self.is_away = True
        self.written: list[dict[str, int]] = []

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[Any]:
        if self.is_away:
            self.presence.note("north", heartbeat(2))  # while the database is waited for
            raise DatabaseAwayError("away")
        yield self

    async def connection(self) -> "Tables":
        return self

    async def execute(self, _update: Any, rows: list[dict[str, Any]]) -> None:
        self.written.append({row["site"]: row["free_disk_bytes"] for row in rows})


def test_what_could_not_be_written_is_written_later_unless_something_newer_came() -> None:
    presence = Presence()
    tables = Tables(presence)
    database = cast("Database", tables)

    async def check() -> None:
        for site in ("north", "hill"):
            presence.note(site, heartbeat(1))
        with pytest.raises(DatabaseAwayError):
            await presence.write(database)
        tables.is_away = False
        for _ in range(2):
            await presence.write(database)

    asyncio.run(check())
    assert tables.written == [{"north": 2, "hill": 1}]
