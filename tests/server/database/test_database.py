"""The tables are those of the code, and transactions that write do not get in each other's way."""

import asyncio
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import URL, Connection

from fedward_server.database.database import Database
from fedward_server.database.tables import metadata
from fedward_server.errors import ConflictError
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
