"""The tables are those of the code, and transactions that write do not get in each other's way."""

import asyncio
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import URL, Connection, event
from sqlalchemy.exc import DBAPIError

from fedward_server.database.database import Database, _absence_told
from fedward_server.database.tables import metadata
from fedward_server.errors import ConflictError, DatabaseAwayError
from fedward_server.keys.models import Role
from fedward_server.keys.queries import all_keys
from fedward_server.keys.service import create_key


def differences(connection: Connection) -> list[object]:
    return list(compare_metadata(MigrationContext.configure(connection), metadata()))


def test_migrations_lead_to_the_tables_of_the_code_and_may_be_run_again(place: Path | URL) -> None:
    async def check() -> None:
        database = Database(place)
        await database.migrate()
        await database.migrate()
        async with database.reading() as session:
            connection = await session.connection()
            assert await connection.run_sync(differences) == []
        await database.close()

    asyncio.run(check())


def test_transactions_that_read_before_they_write_wait_for_each_other(place: Path | URL) -> None:
    async def check() -> None:
        database = Database(place)
        await database.migrate()

        async def add(name: str) -> None:
            async with database.writing() as session:
                before = len(await all_keys(session))
                await asyncio.sleep(0)
                await create_key(session, f"{name}-{before}", Role.READER)

        await asyncio.gather(*(add("key") for _ in range(10)))
        async with database.reading() as session:
            assert len({key.name for key in await all_keys(session)}) == 10
        await database.close()

    asyncio.run(check())


def test_a_full_disk_is_told_and_costs_nothing_that_was_written(tmp_path: Path) -> None:
    async def check() -> None:
        database = Database(tmp_path / "coordinator.db")
        await database.migrate()
        room = {"pages": 1}  # SQLite keeps what there is, and adds none
        await database.close()
        event.listen(
            database._engine.sync_engine, "connect", lambda c, _: c.execute(f"PRAGMA max_page_count={room['pages']}")
        )

        async def add(first: int) -> None:
            async with database.writing() as session:
                for number in range(first, first + 500):
                    await create_key(session, f"key-{number}", Role.READER)

        with pytest.raises(DatabaseAwayError, match="disk of the database is full: make room"):
            await add(0)
        await database.close()
        room["pages"] = 10_000
        await add(500)
        async with database.reading() as session:
            assert {key.name for key in await all_keys(session)} == {f"key-{number}" for number in range(500, 1000)}
        await database.close()

    asyncio.run(check())


def test_a_full_disk_of_a_server_is_told_by_its_code() -> None:
    class DiskFullError(Exception):
        sqlstate = "53100"

    with pytest.raises(DatabaseAwayError, match="full"), _absence_told():
        raise DBAPIError("INSERT", {}, DiskFullError())
    with pytest.raises(DBAPIError), _absence_told():
        raise DBAPIError("INSERT", {}, ValueError())


def test_a_transaction_that_fails_leaves_nothing(place: Path | URL) -> None:
    async def check() -> None:
        database = Database(place)
        await database.migrate()

        async def add_twice() -> None:
            async with database.writing() as session:
                await create_key(session, "key", Role.READER)
                await create_key(session, "key", Role.READER)

        with pytest.raises(ConflictError):
            await add_twice()
        async with database.reading() as session:
            assert not await all_keys(session)
        await database.close()

    asyncio.run(check())
