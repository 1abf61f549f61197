"""What is asked of the table of keys."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from fedward_server.keys.rows import ApiKeyRow


async def by_digest(session: AsyncSession, digest: str) -> ApiKeyRow | None:
    """The key with this digest."""
    return (await session.scalars(select(ApiKeyRow).where(ApiKeyRow.digest == digest))).one_or_none()


async def all_keys(session: AsyncSession) -> Sequence[ApiKeyRow]:
    """Every key, by name."""
    return (await session.scalars(select(ApiKeyRow).order_by(ApiKeyRow.name))).all()


async def of_site(session: AsyncSession, site: str) -> ApiKeyRow | None:
    """The key of a site's agent."""
    return (await session.scalars(select(ApiKeyRow).where(ApiKeyRow.site == site))).one_or_none()
