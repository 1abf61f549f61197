"""The application: routes under ``/api/v1``, and what works behind them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from fastapi import Depends, FastAPI
from sqlalchemy import URL

from fedward_core import __version__
from fedward_core.frozen_weights import GIGABYTE, MOST_GB
from fedward_core.processes.kernel import boot
from fedward_core.registry import load
from fedward_server.api import health, proxy
from fedward_server.api.background import (
    acting,
    end_this_process,
    keeping_superlink,
    noting,
    opened,
    prepare_database,
    scheduling,
)
from fedward_server.api.characters import check_characters
from fedward_server.api.errors import register_errors
from fedward_server.api.limits import BodyLimit
from fedward_server.api.proxy import open_upstream
from fedward_server.engines.subprocess_attempts import SubprocessAttempts
from fedward_server.errors import InvalidError
from fedward_server.home import Home
from fedward_server.keys import routes as key_routes
from fedward_server.keys.keyring import Keyring
from fedward_server.runs import routes as run_routes
from fedward_server.runs.shares import MOST_DOWNLOADS, MOST_STREAMS, MOST_UPLOADS, Shares
from fedward_server.scheduler.leadership import Leadership
from fedward_server.scheduler.scheduler import Scheduler
from fedward_server.scheduler.work import Work
from fedward_server.sites import fleet_routes
from fedward_server.sites import routes as site_routes
from fedward_server.sites.fleet import HEARTBEAT_S, Fleet
from fedward_server.sites.keeper import Keeper, LateKeeper
from fedward_server.sites.network import RECRUIT_S, Network
from fedward_server.sites.service import OFFLINE_S
from fedward_server.studies import routes as study_routes
from fedward_server.tls import TLSFiles
from fedward_server.weights import routes as weights_routes
from fedward_server.weights.shelf import Shelf

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
    weights_gb: float = MOST_GB,
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
        heartbeat_s: How often agents report; at most a third of the time after which a silent one counts as offline.
        recruit_s: How long sites may take to answer a run that asks for them.
        weights_gb: The size of the largest file of frozen weights that is taken, in gigabytes.
        keeper: Keeps Flower's SuperLink alive; left out, as a process of this machine.

    Raises:
        InvalidError: Agents would report too seldom.
    """
    if heartbeat_s > OFFLINE_S / 3:
        raise InvalidError(f"agents must report at least every {OFFLINE_S / 3:.0f} s: {heartbeat_s:g} s is too seldom")
    keeper = keeper or LateKeeper(lambda: load(KEEPER)(home.superlink, tls=tls))
    leadership = Leadership()

    async def prepare() -> None:
        """Bring the database up to date and become the one that acts on it."""
        async with opened(database or home.database) as tables:
            await prepare_database(tables, leadership, _place(home, database), tell_key)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        fleet = Fleet(
            keeper=keeper, node_authentication=tls is not None, address=fleet_address, heartbeat_s=heartbeat_s
        )
        work = Work(home, SubprocessAttempts(), Network(keeper=keeper, recruit_s=recruit_s))
        await prepare()
        async with opened(database or home.database) as tables:
            scheduler = Scheduler(tables, work, leadership, max_active=max_active, lost=end_this_process)
            app.state.database, app.state.home = tables, home
            app.state.keyring, app.state.fleet, app.state.writing = Keyring(), fleet, asyncio.Lock()
            app.state.streams = Shares("streams of events", MOST_STREAMS)
            app.state.downloads = Shares("downloads", MOST_DOWNLOADS)
            app.state.uploads = Shares("uploads", MOST_UPLOADS)
            app.state.shelf = Shelf(home.weights, int(weights_gb * GIGABYTE))
            async with (
                acting(leadership, tables, end_this_process),
                open_upstream(tls) as app.state.upstream,
                keeping_superlink(fleet, tables),
                noting(fleet, tables),
                scheduling(scheduler),
            ):
                yield

    app = _serving_routes(lifespan)
    app.state.prepare = prepare
    return app


def _serving_routes(lifespan: Callable[[FastAPI], AbstractAsyncContextManager[None]]) -> FastAPI:
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
    for router in ROUTERS:
        app.include_router(router, prefix=PREFIX, dependencies=[Depends(check_characters)])
    app.include_router(weights_routes.router, prefix=PREFIX)  # what it takes are no characters, and may be large
    app.include_router(proxy.router)
    app.add_middleware(BodyLimit, prefix=PREFIX, streamed=f"{PREFIX}{weights_routes.router.prefix}/")
    return app


def _place(home: Home, database: URL | None) -> str:
    """Where a coordinator works. An SQLite file lies in the home folder, which is locked on whichever machine."""
    return home.identity if database is None else f"{home.identity}@{boot()}"
