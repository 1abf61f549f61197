"""The tables are those of the code, and transactions that write do not get in each other's way."""

import asyncio
import socketserver
import threading
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


@pytest.mark.parametrize("state", ["08006", "57P01", "57P03", "53300", "55P03"])
def test_a_server_that_cannot_answer_now_is_away_and_not_a_fault(state: str) -> None:
    class ServerError(Exception):
        sqlstate = state

    for error in (DBAPIError("SELECT 1", {}, ServerError()), ServerError()):
        with pytest.raises(DatabaseAwayError, match="ask again"), _absence_told():
            raise error


@pytest.mark.parametrize("state", [None, "23505", "42P01", "57014"])
def test_what_another_statement_would_mend_is_a_fault(state: str | None) -> None:
    class ServerError(Exception):
        sqlstate = state

    with pytest.raises(DBAPIError), _absence_told():
        raise DBAPIError("SELECT 1", {}, ServerError())


class Starting(socketserver.BaseRequestHandler):
    """A PostgreSQL that takes connections, and says to each that it is starting up."""

    def handle(self) -> None:
        fields = b"SFATAL\0C57P03\0Mthe database system is starting up\0\0"
        while letter := self.request.recv(4096):
            if letter[4:8] == (80877103).to_bytes(4, "big"):  # it is asked for TLS
                self.request.sendall(b"N")
            else:
                self.request.sendall(b"E" + (len(fields) + 4).to_bytes(4, "big") + fields)
                return


def test_a_server_that_is_starting_up_is_away() -> None:
    async def check(port: int) -> None:
        database = Database(URL.create("postgresql", username="u", host="127.0.0.1", port=port, database="none"))
        with pytest.raises(DatabaseAwayError):
            await database.migrate()
        with pytest.raises(DatabaseAwayError):
            async with database.reading() as session:
                await session.connection()
        await database.close()

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Starting) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        try:
            asyncio.run(check(server.server_address[1]))
        finally:
            server.shutdown()


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
