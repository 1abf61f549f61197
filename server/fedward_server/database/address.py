"""How the address of a database is written: that of an SQLite file is left out, as it lies in the home folder."""

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from fedward_server.errors import InvalidError

POSTGRESQL = "postgresql+asyncpg"
SCHEMES = ("postgresql", "postgres", POSTGRESQL)


def read_address(text: str) -> URL:
    """Read the address of a PostgreSQL database, ``postgresql://user:password@host:port/name``.

    Raises:
        InvalidError: It is none. The message does not repeat it, as it may hold a password.
    """
    wanted = "expected the address of a PostgreSQL database, postgresql://user:password@host:port/name"
    try:
        url = make_url(text)
    except ArgumentError:
        raise InvalidError(wanted) from None
    if url.drivername not in SCHEMES or not url.database:
        raise InvalidError(wanted)
    return url.set(drivername=POSTGRESQL)
