"""What is asked of the table of studies."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from fedward_server.errors import NotFoundError
from fedward_server.studies.rows import StudyRow


async def study_named(session: AsyncSession, name: str) -> StudyRow:
    """One study.

    Raises:
        NotFoundError: There is none of this name.
    """
    row = await session.get(StudyRow, name)
    if row is None:
        raise NotFoundError(f"there is no study '{name}'")
    return row


async def all_studies(session: AsyncSession) -> Sequence[StudyRow]:
    """Every study, by name."""
    return (await session.scalars(select(StudyRow).order_by(StudyRow.name))).all()
