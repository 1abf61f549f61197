"""What the coordinator wants of each site: read from the database at most twice a second for all sites together."""

import asyncio
import logging
import time
from collections import defaultdict
from dataclasses import dataclass, field

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from fedward_core.errors import SpecError
from fedward_core.fleet_messages import Heartbeat, Instructions, Proposal
from fedward_core.packages import packages_named
from fedward_server.database.database import Database
from fedward_server.runs.rows import RunRow
from fedward_server.runs.states import WORKING, RunState
from fedward_server.sites import queries
from fedward_server.sites.rows import SiteRow

FRESH_S = 0.5

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """One moment of the database.

    Attributes:
        proposals: For each site, the runs that ask for it and that it has not answered.
        working: For each site, the runs under way that it takes part in.
        cards: For each enrolled site, the digest of the cards that it has told.
    """

    proposals: dict[str, list[Proposal]]
    working: dict[str, set[str]]
    cards: dict[str, str]

    def for_site(self, site: str, heartbeat: Heartbeat, interval_s: float) -> Instructions:
        """The reply to a heartbeat."""
        working = self.working.get(site, set())
        now = time.time()
        return Instructions(
            interval_s=interval_s,
            proposals=tuple(one for one in self.proposals.get(site, ()) if one.expires_s > now),
            ended=tuple(run for run in heartbeat.runs if run not in working),
            send_cards=heartbeat.cards_digest != self.cards.get(site, ""),
            active=bool(working),
        )


@dataclass
class Board:
    """The wishes as they were a moment ago."""

    _wishes: Wishes | None = None
    _read_s: float = 0.0
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def wishes(self, database: Database) -> Wishes:
        """What is wanted; read anew if half a second has passed, once for all who ask."""
        async with self._lock:
            wishes = self._wishes
            if wishes is None or time.monotonic() - self._read_s > FRESH_S:
                async with database.reading() as session:
                    self._wishes = wishes = await _read(session)
                self._read_s = time.monotonic()
            return wishes  # the board may have been told to forget them meanwhile

    def forget(self) -> None:
        """Read anew when somebody asks next: a site has told something that changes what is wanted of it."""
        self._wishes = None


async def _read(session: AsyncSession) -> Wishes:
    cards = await session.execute(select(SiteRow.name, SiteRow.cards_digest))
    return Wishes(
        proposals=await _proposals(session),
        working=await _working(session),
        cards={row.name: row.cards_digest for row in cards},
    )


async def _proposals(session: AsyncSession) -> dict[str, list[Proposal]]:
    runs = (await session.scalars(select(RunRow).where(RunRow.state == RunState.RECRUITING))).all()
    answered = {(row.run, row.site) for row in await queries.answers_to(session, [run.id for run in runs])}
    found: dict[str, list[Proposal]] = defaultdict(list)
    for run in runs:
        asked = [site for site in run.sites if (run.id, site) not in answered]
        if not asked:
            continue
        try:
            proposal = _proposal(run)  # once for all of them: it reads the files of packages
        except SpecError as error:  # it must keep no site from anything else
            log.warning("run %r is proposed to no site: %s", run.id, error)
            continue
        for site in asked:
            found[site].append(proposal)
    return found


def _proposal(run: RunRow) -> Proposal:
    return Proposal(
        run=run.id,
        study=run.study,
        spec=run.spec,
        spec_digest=run.spec_digest,
        app=run.app,
        packages=packages_named(run.spec),
        expires_s=run.recruits_until_s,
    )


async def _working(session: AsyncSession) -> dict[str, set[str]]:
    query = select(RunRow.id, RunRow.cohort).where(RunRow.state.in_(WORKING), RunRow.app != "")
    found: dict[str, set[str]] = defaultdict(set)
    for run, cohort in (await session.execute(query)).all():
        for site in cohort or ():
            found[site].add(run)
    return found
