"""A coordinator's database: whether it answers, and whether it has a coordinator's tables, of whatever release."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

from fedward_cli.checkup.finding import Finding, fault, well
from fedward_core.errors import FedwardError

ABOUT = "database"


def examine_database(home: Path, address: str) -> Iterator[Finding]:
    """Look at a coordinator's database, and change nothing.

    Args:
        home: The coordinator's home folder.
        address: The address of a PostgreSQL database; empty for the file in the home folder.
    """
    if not address and not (home / "coordinator.db").exists():
        yield well(ABOUT, "none yet: the coordinator makes it at its first start")
        return
    try:
        asyncio.run(_ask(home, address))
    except FedwardError as error:
        yield fault(ABOUT, str(error))
    except Exception as error:  # noqa: BLE001 - a driver's own error, whatever it is, is what was found
        yield fault(ABOUT, f"cannot be used ({type(error).__name__}): is it that of a coordinator?")
    else:
        yield well(ABOUT, "answers")


async def _ask(home: Path, address: str) -> None:
    # The database's libraries are slow to import, and a hospital has none.
    from sqlalchemy import text

    from fedward_server.database.address import read_address
    from fedward_server.database.database import Database

    database = Database(read_address(address) if address else home / "coordinator.db")
    try:
        async with database.reading() as session:
            await session.execute(text("SELECT count(*) FROM runs"))
    finally:
        await database.close()
