"""Opens the database, brings it up to date, and hands out transactions.

SQLite has one writer at a time. A transaction that will write says so from its start and waits for its turn; one that
read first and wrote later would fail when another had written in between.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import URL, Connection, event
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

MIGRATIONS = Path(__file__).parent / "migrations"
BUSY_TIMEOUT_S = 10.0


class Database:
    """The coordinator's tables in one SQLite file.

    Args:
        path: The file; it is made if it does not exist.
    """

    def __init__(self, path: Path) -> None:
        url = URL.create("sqlite+aiosqlite", database=str(path))
        self._engine = create_async_engine(url, connect_args={"timeout": BUSY_TIMEOUT_S})
        event.listen(self._engine.sync_engine, "connect", _prepare)
        event.listen(self._engine.sync_engine, "begin", _begin)
        self._readers = async_sessionmaker(self._engine, expire_on_commit=False)
        self._writers = async_sessionmaker(self._engine.execution_options(writing=True), expire_on_commit=False)

    async def migrate(self) -> None:
        """Bring the tables to the newest version; each migration is whole or not at all."""
        async with self._engine.execution_options(writing=True).begin() as connection:
            await connection.run_sync(_upgrade)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncSession]:
        """A transaction that sees one moment of the database and changes nothing."""
        async with self._readers() as session:
            yield session

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncSession]:
        """A transaction that is committed when the block ends well. Nothing slow belongs in it."""
        async with self._writers.begin() as session:
            yield session

    async def close(self) -> None:
        """Close every connection."""
        await self._engine.dispose()


def _upgrade(connection: Connection) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _prepare(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # transactions begin below; the driver would begin them too late
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")  # readers do not wait for the writer
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def _begin(connection: Connection) -> None:
    writing = connection.get_execution_options().get("writing", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")
