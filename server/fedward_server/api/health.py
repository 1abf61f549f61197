"""``/health``: whether the coordinator can do its work; for anybody."""

from fastapi import APIRouter
from sqlalchemy import text

from fedward_core import __version__
from fedward_core.config import Frozen
from fedward_server.keys.access import Tables

router = APIRouter(prefix="/health", tags=["health"])


class Health(Frozen):
    """The coordinator answers, and so does its database."""

    status: str
    version: str


@router.get("")
async def show_health(database: Tables) -> Health:
    """Whether coordinator and database answer."""
    async with database.reading() as session:
        await session.execute(text("SELECT 1"))
    return Health(status="ok", version=__version__)
