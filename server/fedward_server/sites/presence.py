"""The newest heartbeat of each site, in memory, and now and then in the database.

A thousand sites report every few seconds. Each report written by itself would be a thousand transactions; together they
are one, and a coordinator that is killed forgets a second.
"""

import asyncio
import logging
import time
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import bindparam, update

from fedward_core.fleet_messages import Heartbeat
from fedward_server.database.base import Base
from fedward_server.database.database import Database
from fedward_server.errors import DatabaseAwayError
from fedward_server.sites.rows import SiteRow

log = logging.getLogger(__name__)

WRITE_EVERY_S = 1.0


_TABLE = Base.metadata.tables[SiteRow.__tablename__]
_REPORTED = (
    "fedward",
    "flower",
    "last_seen_s",
    "clock_offset_s",
    "free_disk_bytes",
    "gpus",
    "approved",
    "runs",
)
_UPDATE = update(_TABLE).where(_TABLE.c.name == bindparam("site")).values({name: bindparam(name) for name in _REPORTED})


@dataclass
class Presence:
    """Heartbeats that are not in the database yet."""

    _unwritten: dict[str, dict[str, Any]] = field(default_factory=dict)

    def note(self, site: str, heartbeat: Heartbeat) -> None:
        """Take a heartbeat in; only the newest of each site counts."""
        now = time.time()
        self._unwritten[site] = {
            "site": site,
            "fedward": heartbeat.versions.fedward,
            "flower": heartbeat.versions.flower,
            "last_seen_s": now,
            "clock_offset_s": heartbeat.clock_s - now,
            "free_disk_bytes": heartbeat.free_disk_bytes,
            "gpus": list(heartbeat.gpus),
            "approved": list(heartbeat.approved),
            "runs": list(heartbeat.runs),
        }

    async def write(self, database: Database) -> None:
        """Write what is not written; what cannot be written is kept, unless something newer came meanwhile.

        Raises:
            DatabaseAwayError: The database does not answer.
        """
        taken, self._unwritten = self._unwritten, {}
        if not taken:
            return
        try:
            async with database.writing() as session:
                connection = await session.connection()
                await connection.execute(_UPDATE, list(taken.values()))
        except BaseException:
            self._unwritten = taken | self._unwritten
            raise

    async def keep_writing(self, database: Database) -> None:
        """Write every second until cancelled."""
        while True:
            await asyncio.sleep(WRITE_EVERY_S)
            try:
                await self.write(database)
            except DatabaseAwayError as error:
                log.warning("heartbeats are kept in memory: %s", error)
            except Exception:
                log.exception("heartbeats could not be written; it is tried again")
