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
AGENT_OF = "agent:"  # no key that people make can have a colon in its name


async def create_key(session: AsyncSession, name: str, role: Role) -> NewKey:
    """Make a key.

    Raises:
        ConflictError: The name is taken.
    """
    if await session.get(ApiKeyRow, name):
        raise ConflictError(f"there is a key '{name}' already: choose another name, or delete it first")
    key = PREFIX + secrets.token_urlsafe(32)
    session.add(ApiKeyRow(name=name, digest=digest_of(key), role=role, created_s=time.time()))
    return NewKey(name=name, role=role, key=key)


async def create_agent_key(session: AsyncSession, site: str) -> str:
    """Make the key of a site's agent, which speaks for that site and can do nothing else."""
    key = PREFIX + secrets.token_urlsafe(32)
    name = f"{AGENT_OF}{site}"
    session.add(ApiKeyRow(name=name, digest=digest_of(key), role=Role.AGENT, site=site, created_s=time.time()))
    return key


async def delete_agent_key(session: AsyncSession, site: str) -> None:
    """Take the key of a site's agent back."""
    row = await queries.of_site(session, site)
    if row is not None:
        await session.delete(row)


async def recognise(session: AsyncSession, key: str) -> ApiKey:
    """The key that somebody shows.

    Raises:
        UnauthorizedError: There is no such key.
    """
    row = await queries.by_digest(session, digest_of(key))
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
        ConflictError: It is the last one of an administrator, or that of an agent.
    """
    rows = {row.name: row for row in await queries.all_keys(session)}
    if name not in rows:
        raise NotFoundError(f"there is no key '{name}'")
    if rows[name].site is not None:
        raise ConflictError(f"'{name}' is the key of an agent: revoke site '{rows[name].site}' instead")
    admins = [row.name for row in rows.values() if row.role == Role.ADMIN]
    if admins == [name]:
        raise ConflictError(f"'{name}' is the last key of an administrator: make another one first")
    await session.delete(rows[name])


def digest_of(secret: str) -> str:
    """What is kept of a key or token: with 256 random bits, nobody guesses it from that as one might a password."""
    return hashlib.sha256(secret.encode()).hexdigest()


def _model(row: ApiKeyRow) -> ApiKey:
    return ApiKey(name=row.name, role=Role(row.role), site=row.site, created_s=row.created_s)
