"""Opens the database, brings it up to date, and hands out transactions.

SQLite has one writer at a time, and PostgreSQL is held to the same: a transaction that will write says so from its
start and waits for its turn. One that read first and wrote later would fail, or overwrite, when another had written in
between. Nothing slow happens in a transaction, so that turns are short.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import URL, Connection, event
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine

from fedward_server.database.address import POSTGRESQL
from fedward_server.errors import DatabaseAwayError

MIGRATIONS = Path(__file__).parent / "migrations"
BUSY_TIMEOUT_S = 10.0
CONNECT_TIMEOUT_S = 5.0
STATEMENT_TIMEOUT_S = 30.0
SQLITE_FULL, POSTGRESQL_FULL = "database or disk is full", "53100"  # in a sentence, and as a code
# Lost connections, shutdown and start, too many connections, and a lock that was waited for too long.
AWAY = ("08", "57P", "53300", "55P03")
WRITERS = 0x0FED  # any number of our own: PostgreSQL's name for the lock of those that write


class Database:
    """The coordinator's tables.

    Args:
        place: An SQLite file, which is made if it does not exist, or the address of a PostgreSQL database.
    """

    def __init__(self, place: Path | URL) -> None:
        self._engine = _open_sqlite(place) if isinstance(place, Path) else _open_postgresql(place)
        self._readers = async_sessionmaker(self._engine, expire_on_commit=False)
        self._writers = async_sessionmaker(self._engine.execution_options(writing=True), expire_on_commit=False)

    async def migrate(self) -> None:
        """Bring the tables to the newest version; each migration is whole or not at all.

        Raises:
            DatabaseAwayError: The database does not answer.
        """
        with _absence_told():
            async with self._engine.execution_options(writing=True).begin() as connection:
                await connection.run_sync(_upgrade)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncSession]:
        """A transaction that changes nothing.

        Raises:
            DatabaseAwayError: The database does not answer.
        """
        with _absence_told():
            async with self._readers() as session:
                yield session

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncSession]:
        """A transaction that is committed when the block ends well. Nothing slow belongs in it.

        Raises:
            DatabaseAwayError: The database does not answer.
        """
        with _absence_told():
            async with self._writers.begin() as session:
                yield session

    async def close(self) -> None:
        """Close every connection."""
        await self._engine.dispose()


@contextmanager
def _absence_told() -> Iterator[None]:
    """A database that is away, or has no room, is something to wait for; any other fault of it is a fault of ours."""
    try:
        yield
    except Exception as error:
        if _is_full(error):
            raise DatabaseAwayError("the disk of the database is full: make room there, then ask again") from error
        if _is_away(error):
            raise DatabaseAwayError("the database does not answer: ask again in a moment") from error
        raise


def _is_full(error: Exception) -> bool:
    return isinstance(error, DBAPIError) and (SQLITE_FULL in str(error.orig) or _sqlstate(error) == POSTGRESQL_FULL)


def _is_away(error: Exception) -> bool:
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    if isinstance(error, OSError | PoolTimeoutError | InterfaceError | OperationalError):
        return True
    return _sqlstate(error).startswith(AWAY)


def _sqlstate(error: Exception) -> str:
    """PostgreSQL's code, if it is an error of its; while a connection is made, the driver's own error has it."""
    return getattr(getattr(error, "orig", error), "sqlstate", None) or ""


def _upgrade(connection: Connection) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _open_sqlite(path: Path) -> AsyncEngine:
    url = URL.create("sqlite+aiosqlite", database=str(path))
    engine = create_async_engine(url, connect_args={"timeout": BUSY_TIMEOUT_S})
    event.listen(engine.sync_engine, "connect", _prepare_sqlite)
    event.listen(engine.sync_engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # transactions begin below; the driver would begin them too late
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")  # readers do not wait for the writer
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    writing = connection.get_execution_options().get("writing", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")


def _open_postgresql(url: URL) -> AsyncEngine:
    limits = {"timeout": CONNECT_TIMEOUT_S, "command_timeout": STATEMENT_TIMEOUT_S}
    settings = {"lock_timeout": f"{BUSY_TIMEOUT_S:.0f}s", "application_name": "fedward"}
    engine = create_async_engine(
        url.set(drivername=POSTGRESQL),
        connect_args={**limits, "server_settings": settings},
        pool_pre_ping=True,  # connections that broke while nobody used them are found before they are used
        pool_timeout=BUSY_TIMEOUT_S,
    )
    event.listen(engine.sync_engine, "begin", _begin_postgresql)
    return engine


def _begin_postgresql(connection: Connection) -> None:
    if connection.get_execution_options().get("writing", False):
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({WRITERS})")
