"""What the routes of agents share: their heartbeats, what is wanted of them, and the SuperLink that they connect to."""

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass, field

from fedward_core.errors import FedwardError
from fedward_core.fleet_messages import Enrolment, Membership
from fedward_server.database.database import Database
from fedward_server.sites.board import Board
from fedward_server.sites.enrolment import check_enrolment, enrol
from fedward_server.sites.keeper import Keeper
from fedward_server.sites.presence import Presence
from fedward_server.sites.queries import all_sites, any_site

log = logging.getLogger(__name__)

# Decided here: a cancelled run is noticed within seconds, and a thousand sites are two hundred requests a second.
HEARTBEAT_S = 5.0
# Decided here: SuperNodes outlast a SuperLink that is away for longer, and a look costs one small request.
LOOK_EVERY_S = 3.0


@dataclass(kw_only=True)
class Fleet:
    """The coordinator's side of all enrolled sites.

    Attributes:
        keeper: Keeps the SuperLink alive.
        node_authentication: Whether SuperNodes prove who they are.
        address: ``host:port`` where SuperNodes connect; empty for the coordinator's own.
        heartbeat_s: How often agents report.
        presence: Their newest heartbeats.
        board: What is wanted of them.
        superlink: Where the SuperLink listens on loopback; empty before the first site.
    """

    keeper: Keeper
    node_authentication: bool
    address: str = ""
    heartbeat_s: float = HEARTBEAT_S
    presence: Presence = field(default_factory=Presence)
    board: Board = field(default_factory=Board)
    superlink: str = ""
    _enrolling: asyncio.Lock = field(default_factory=asyncio.Lock)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _settled: bool = False  # whether the SuperLink knows of every site that was revoked
    _ending: bool = False

    async def enrol(self, database: Database, enrolment: Enrolment, own_port: int) -> Membership:
        """Make whoever holds a valid token a site.

        Args:
            database: Holds invitations and sites.
            enrolment: The site's first words.
            own_port: The coordinator's port as the site reaches it.

        Raises:
            RefusedError: See :func:`fedward_server.sites.enrolment.check_enrolment`, or the key was used before.
        """
        async with self._enrolling:  # of two with the same token, the slower must not register its key
            async with database.reading() as session:
                site = await check_enrolment(session, enrolment)
            node = await self._register(site, enrolment.public_key)
            async with database.writing() as session:
                key = await enrol(session, enrolment, node)
        self.board.forget()
        self._changed.set()
        address = self.address or f":{own_port}"
        return Membership(site=site, key=key, fleet=address, node_authentication=self.node_authentication)

    async def forget(self, site: str) -> None:
        """Let the SuperNode of a revoked site join no more; while the SuperLink is away, as soon as it is back."""
        self.board.forget()
        self._settled = False
        if self.node_authentication:
            with suppress(FedwardError):
                await asyncio.to_thread(self.keeper.forget, site)
        self._changed.set()

    async def keep_superlink(self, database: Database) -> None:
        """Look after the SuperLink from the first site on, until told to end; then end it."""
        while not self._ending:
            try:
                await self._look_after_superlink(database)
            except FedwardError as error:
                log.warning("%s", error)
            except Exception:
                log.exception("the SuperLink could not be looked after; it is tried again")
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), LOOK_EVERY_S)
            self._changed.clear()
        if self.superlink:
            await asyncio.to_thread(self.keeper.end)

    def end(self) -> None:
        """Let :meth:`keep_superlink` finish what it is at, and end the SuperLink."""
        self._ending = True
        self._changed.set()

    async def _look_after_superlink(self, database: Database) -> None:
        if not self.superlink:
            async with database.reading() as session:
                if not await any_site(session):
                    return
        self.superlink = await asyncio.to_thread(self.keeper.ensure)
        if self.node_authentication and not self._settled:
            await self._shut_strangers_out(database)

    async def _shut_strangers_out(self, database: Database) -> None:
        """Let no SuperNode join whose site is not enrolled: the SuperLink may have been away when that was revoked."""
        async with self._enrolling:  # a site that is being made is registered first
            self._settled = True
            async with database.reading() as session:
                enrolled = {site.name for site in await all_sites(session)}
            try:
                for site in await asyncio.to_thread(self.keeper.sites) - enrolled:
                    await asyncio.to_thread(self.keeper.forget, site)
            except BaseException:
                self._settled = False
                raise

    async def _register(self, site: str, public_key: str) -> str:
        if not self.node_authentication:
            return ""
        return await asyncio.to_thread(self.keeper.register, site, public_key.encode())
