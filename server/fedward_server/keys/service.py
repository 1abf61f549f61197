"""Rules of API keys: how they are made, recognised and taken back."""

import hashlib
import secrets
import time

from sqlalchemy.ext.asyncio import AsyncSession

from fedward_server.errors import ConflictError, NotFoundError, UnauthorizedError
from fedward_server.keys import queries
from fedward_server.keys.models import ApiKey, NewKey, Role
from fedward_server.keys.rows import ApiKeyRow

PREFIX = "fw_"


async def create_key(session: AsyncSession, name: str, role: Role) -> NewKey:
    """Make a key.

    Raises:
        ConflictError: The name is taken.
    """
    if await session.get(ApiKeyRow, name):
        raise ConflictError(f"there is a key '{name}' already: choose another name, or delete it first")
    key = PREFIX + secrets.token_urlsafe(32)
    session.add(ApiKeyRow(name=name, digest=_digest(key), role=role, created_s=time.time()))
    return NewKey(name=name, role=role, key=key)


async def recognise(session: AsyncSession, key: str) -> ApiKey:
    """The key that somebody shows.

    Raises:
        UnauthorizedError: There is no such key.
    """
    row = await queries.by_digest(session, _digest(key))
    if row is None:
        raise UnauthorizedError("this API key is not known here: check it, or ask an administrator for one")
    return _model(row)


async def list_keys(session: AsyncSession) -> list[ApiKey]:
    """Every key, by name."""
    return [_model(row) for row in await queries.all_keys(session)]


async def delete_key(session: AsyncSession, name: str) -> None:
    """Take a key back; it opens nothing from now on.

    Raises:
        NotFoundError: There is no such key.
        ConflictError: It is the last one of an administrator.
    """
    rows = {row.name: row for row in await queries.all_keys(session)}
    if name not in rows:
        raise NotFoundError(f"there is no key '{name}'")
    admins = [row.name for row in rows.values() if row.role == Role.ADMIN]
    if admins == [name]:
        raise ConflictError(f"'{name}' is the last key of an administrator: make another one first")
    await session.delete(rows[name])


# A key has 256 random bits: nobody guesses it from a plain digest, as one might a password.
def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def _model(row: ApiKeyRow) -> ApiKey:
    return ApiKey(name=row.name, role=Role(row.role), created_s=row.created_s)
