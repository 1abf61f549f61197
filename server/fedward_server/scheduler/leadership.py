"""Of all coordinators that use one database, one acts: it holds a lease, which it renews while it lives.

A second one waits a moment for the lease to lapse, and then refuses to start: the files of runs lie in the first one's
home folder. One that lost its lease, because it was cut off from the database for longer, never acts again.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import Callable

from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from fedward_server.database.base import Base
from fedward_server.database.database import Database
from fedward_server.errors import ConflictError

log = logging.getLogger(__name__)

# Decided here: longer than a database needs to restart, and short enough to wait for after a power cut.
LEASE_S = 30.0
RENEW_S = 5.0
_ACTING = "acting"


class LeadershipRow(Base):
    """Who acts; there is one row.

    Attributes:
        name: Always the same.
        holder: A token of the process that acts.
        place: Where it works; whoever works there later knows that it has ended.
        renewed_s: When it was heard of last, in seconds since the epoch.
    """

    __tablename__ = "leadership"

    name: Mapped[str] = mapped_column(primary_key=True)
    holder: Mapped[str]
    place: Mapped[str]
    renewed_s: Mapped[float]


class Leadership:
    """This process's claim to act."""

    def __init__(self) -> None:
        self._holder = secrets.token_hex(16)

    async def take(self, session: AsyncSession, place: str) -> None:
        """Become the one that acts.

        Args:
            session: A transaction that writes.
            place: Names where this process works, and no other does.

        Raises:
            ConflictError: Another one acts, or did so a moment ago.
        """
        row = await session.get(LeadershipRow, _ACTING)
        now = time.time()
        if row is None:
            row = LeadershipRow(name=_ACTING, holder=self._holder, place=place, renewed_s=now)
            session.add(row)
        if row.place != place and now - row.renewed_s < LEASE_S:
            raise ConflictError(
                "another coordinator, with another home folder, acts on this database: end it, or choose another "
                "database"
            )
        row.holder, row.place, row.renewed_s = self._holder, place, now

    async def renew(self, session: AsyncSession) -> bool:
        """Show that this process lives.

        Args:
            session: A transaction that writes.

        Returns:
            Whether it still is the one that acts.
        """
        row = await session.get_one(LeadershipRow, _ACTING)
        if row.holder != self._holder:
            return False
        now = time.time()
        if now - row.renewed_s > RENEW_S:
            row.renewed_s = now
        return True

    async def keep(self, database: Database, lost: Callable[[], None]) -> None:
        """Renew the claim until cancelled, whatever else this process is at: work on one run may outlast the lease.

        A fault is logged and tried again: the claim outlives a database that is away.

        Args:
            database: Holds the claim.
            lost: Called once another coordinator acts; then nothing is renewed any more.
        """
        while True:
            await asyncio.sleep(RENEW_S)
            try:
                async with database.writing() as session:
                    acts = await self.renew(session)
            except Exception:
                log.exception("the claim to act could not be renewed, and is tried again")
                continue
            if not acts:
                return lost()
