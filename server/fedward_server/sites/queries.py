"""What is asked of the tables of sites, invitations and answers."""

from collections.abc import Collection, Sequence

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from fedward_server.errors import NotFoundError
from fedward_server.sites.rows import AnswerRow, InvitationRow, SiteRow


async def site_named(session: AsyncSession, name: str) -> SiteRow:
    """One enrolled site.

    Raises:
        NotFoundError: There is none of this name.
    """
    row = await session.get(SiteRow, name)
    if row is None:
        raise NotFoundError(f"there is no enrolled site '{name}'")
    return row


async def all_sites(session: AsyncSession) -> Sequence[SiteRow]:
    """Every enrolled site, by name."""
    return (await session.scalars(select(SiteRow).order_by(SiteRow.name))).all()


async def sites_named(session: AsyncSession, names: Collection[str]) -> dict[str, SiteRow]:
    """Those of these sites that are enrolled."""
    rows = await session.scalars(select(SiteRow).where(SiteRow.name.in_(names)))
    return {row.name: row for row in rows}


async def any_site(session: AsyncSession) -> bool:
    """Whether a site is enrolled."""
    return await session.scalar(select(SiteRow.name).limit(1)) is not None


async def invitation_with(session: AsyncSession, digest: str) -> InvitationRow | None:
    """The invitation whose token has this digest."""
    return await session.get(InvitationRow, digest)


async def forget_invitations(session: AsyncSession, site: str) -> None:
    """Drop every invitation of a site."""
    await session.execute(delete(InvitationRow).where(InvitationRow.site == site))


async def answers_to(session: AsyncSession, runs: Collection[str]) -> Sequence[AnswerRow]:
    """Every answer to these runs."""
    return (await session.scalars(select(AnswerRow).where(AnswerRow.run.in_(runs)))).all()


async def forget_answers(session: AsyncSession, run: str) -> None:
    """Forget what sites answered to a run, so that they are asked again."""
    await session.execute(delete(AnswerRow).where(AnswerRow.run == run))


async def forget_answers_of(session: AsyncSession, site: str) -> None:
    """Forget what a site answered to any run; the events of the runs still tell."""
    await session.execute(delete(AnswerRow).where(AnswerRow.site == site))
