"""``/studies``."""

import asyncio

from fastapi import APIRouter

from fedward_server.keys.access import ADMIN, READER, Tables
from fedward_server.studies import queries, service
from fedward_server.studies.models import CreateStudyRequest, Study

router = APIRouter(prefix="/studies", tags=["studies"])


@router.post("", status_code=201, dependencies=[ADMIN])
async def create_study(request: CreateStudyRequest, database: Tables) -> Study:
    """Make a study; making the same one again is fine."""
    sites = await asyncio.to_thread(service.sites_of, request)
    async with database.writing() as session:
        return await service.create_study(session, request, sites)


@router.get("", dependencies=[READER])
async def list_studies(database: Tables) -> list[Study]:
    """Every study, by name."""
    async with database.reading() as session:
        return await service.list_studies(session)


@router.get("/{name}", dependencies=[READER])
async def show_study(name: str, database: Tables) -> Study:
    """One study."""
    async with database.reading() as session:
        return service.as_study(await queries.study_named(session, name))
