"""The application: routes under ``/api/v1``, and the scheduler that works behind them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from fastapi import APIRouter, FastAPI

from fedward_core import __version__
from fedward_server.api import health
from fedward_server.api.errors import register_errors
from fedward_server.database.database import Database
from fedward_server.engines.subprocess_attempts import SubprocessAttempts
from fedward_server.home import Home
from fedward_server.keys import queries as keys
from fedward_server.keys import routes as key_routes
from fedward_server.keys.models import Role
from fedward_server.keys.service import create_key
from fedward_server.runs import queries as runs
from fedward_server.runs import routes as run_routes
from fedward_server.scheduler.scheduler import Scheduler
from fedward_server.scheduler.work import Work
from fedward_server.studies import routes as study_routes

PREFIX = "/api/v1"


def create_app(home: Home, *, max_active: int = 1, tell_key: Callable[[str], None] = print) -> FastAPI:
    """The coordinator of a home folder.

    Args:
        home: Where it keeps everything; whoever serves the application has claimed it.
        max_active: Runs that may be under way at a time.
        tell_key: Called with the administrator's first key, where there is no key yet.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        database = Database(home.database)
        try:
            await _prepare(database, tell_key)
            app.state.database, app.state.home = database, home
            async with _scheduling(home, database, max_active):
                yield
        finally:
            await database.close()

    # The usual pages for trying routes out fetch scripts from elsewhere, which a hospital network does not allow.
    app = FastAPI(
        title="Fedward coordinator",
        version=__version__,
        lifespan=lifespan,
        openapi_url=f"{PREFIX}/openapi.json",
        docs_url=None,
        redoc_url=None,
    )
    register_errors(app)
    routes = APIRouter(prefix=PREFIX)
    for router in (health.router, key_routes.router, study_routes.router, run_routes.router):
        routes.include_router(router)
    app.include_router(routes)
    return app


async def _prepare(database: Database, tell_key: Callable[[str], None]) -> None:
    await database.migrate()
    async with database.writing() as session:
        await runs.forget_leases(session)  # the home is locked: whoever held them is gone
        first = None if await keys.all_keys(session) else await create_key(session, "admin", Role.ADMIN)
    if first is not None:
        tell_key(first.key)


@asynccontextmanager
async def _scheduling(home: Home, database: Database, max_active: int) -> AsyncIterator[None]:
    attempts = SubprocessAttempts()
    scheduler = Scheduler(database, Work(home, attempts), attempts, max_active=max_active)
    loop = asyncio.create_task(scheduler.run())
    try:
        yield
    finally:
        scheduler.end()
        await loop
        await scheduler.end_attempts()
