"""The application: routes under ``/api/v1``, and what works behind them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from fastapi import APIRouter, FastAPI
from sqlalchemy import URL

from fedward_core import __version__
from fedward_core.registry import load
from fedward_server.api import health, proxy
from fedward_server.api.errors import register_errors
from fedward_server.api.limits import BodyLimit
from fedward_server.api.proxy import open_upstream
from fedward_server.database.database import Database
from fedward_server.engines.subprocess_attempts import SubprocessAttempts
from fedward_server.errors import DatabaseAwayError
from fedward_server.home import Home
from fedward_server.keys import queries as keys
from fedward_server.keys import routes as key_routes
from fedward_server.keys.keyring import Keyring
from fedward_server.keys.models import Role
from fedward_server.keys.service import create_key
from fedward_server.runs import queries as runs
from fedward_server.runs import routes as run_routes
from fedward_server.scheduler.scheduler import Scheduler
from fedward_server.scheduler.work import Work
from fedward_server.sites import fleet_routes
from fedward_server.sites import routes as site_routes
from fedward_server.sites.fleet import HEARTBEAT_S, Fleet
from fedward_server.sites.keeper import Keeper, LateKeeper
from fedward_server.sites.network import RECRUIT_S, Network
from fedward_server.studies import routes as study_routes
from fedward_server.tls import TLSFiles

PREFIX = "/api/v1"
KEEPER = "fedward_server.flower.superlink_keeper:SuperLinkKeeper"  # named, as importing it imports Flower
ROUTERS = (
    health.router,
    key_routes.router,
    study_routes.router,
    site_routes.router,
    fleet_routes.router,
    run_routes.router,
)


def create_app(  # noqa: PLR0913 - the settings of a coordinator, each by its name
    home: Home,
    *,
    max_active: int = 1,
    tell_key: Callable[[str], None] = print,
    database: URL | None = None,
    tls: TLSFiles | None = None,
    fleet_address: str = "",
    heartbeat_s: float = HEARTBEAT_S,
    recruit_s: float = RECRUIT_S,
    keeper: Keeper | None = None,
) -> FastAPI:
    """The coordinator of a home folder.

    Args:
        home: Where it keeps everything; whoever serves the application has claimed it.
        max_active: Runs that may be under way at a time.
        tell_key: Called with the administrator's first key, where there is no key yet.
        database: The address of a PostgreSQL database; left out, an SQLite file in the home folder.
        tls: The files of the port, if it has TLS: then SuperNodes prove who they are.
        fleet_address: ``host:port`` where SuperNodes connect; left out, the port at which a site enrols.
        heartbeat_s: How often agents report.
        recruit_s: How long sites may take to answer a run that asks for them.
        keeper: Keeps Flower's SuperLink alive; left out, as a process of this machine.
    """
    keeper = keeper or LateKeeper(lambda: load(KEEPER)(home.superlink, tls=tls))

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        tables = Database(database or home.database)
        fleet = Fleet(
            keeper=keeper, node_authentication=tls is not None, address=fleet_address, heartbeat_s=heartbeat_s
        )
        try:
            await _prepare(tables, tell_key)
            app.state.database, app.state.home = tables, home
            app.state.keyring, app.state.fleet = Keyring(), fleet
            work = Work(home, SubprocessAttempts(), Network(keeper=keeper, recruit_s=recruit_s))
            async with (
                open_upstream(tls) as app.state.upstream,
                _keeping_superlink(fleet, tables),
                _noting(fleet, tables),
                _scheduling(tables, work, max_active),
            ):
                yield
        finally:
            await tables.close()

    # The usual pages for trying routes out fetch scripts from elsewhere, which a hospital network does not allow.
    app = FastAPI(
        title="Fedward coordinator",
        version=__version__,
        lifespan=lifespan,
        openapi_url=f"{PREFIX}/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,  # a path is right or it is not found; what is sent along is not sent twice
    )
    register_errors(app)
    routes = APIRouter(prefix=PREFIX)
    for router in ROUTERS:
        routes.include_router(router)
    app.include_router(routes)
    app.include_router(proxy.router)
    app.add_middleware(BodyLimit, prefix=PREFIX)
    return app


async def _prepare(database: Database, tell_key: Callable[[str], None]) -> None:
    await database.migrate()
    async with database.writing() as session:
        await runs.forget_leases(session)  # the home is locked: whoever held them is gone
        first = None if await keys.all_keys(session) else await create_key(session, "admin", Role.ADMIN)
    if first is not None:
        tell_key(first.key)


@asynccontextmanager
async def _scheduling(database: Database, work: Work, max_active: int) -> AsyncIterator[None]:
    scheduler = Scheduler(database, work, max_active=max_active)
    loop = asyncio.create_task(scheduler.run())
    try:
        yield
    finally:
        scheduler.end()
        await loop
        await scheduler.end_attempts()


@asynccontextmanager
async def _noting(fleet: Fleet, database: Database) -> AsyncIterator[None]:
    writing = asyncio.create_task(fleet.presence.keep_writing(database))
    try:
        yield
    finally:
        writing.cancel()
        with suppress(asyncio.CancelledError):
            await writing
        with suppress(DatabaseAwayError):
            await fleet.presence.write(database)


@asynccontextmanager
async def _keeping_superlink(fleet: Fleet, database: Database) -> AsyncIterator[None]:
    keeping = asyncio.create_task(fleet.keep_superlink(database))
    try:
        yield
    finally:
        fleet.end()
        await keeping
