"""``/sites`` and ``/datasets``: for people."""

from fastapi import APIRouter

from fedward_server.keys.access import ADMIN, READER, Keys, Tables
from fedward_server.sites import invitations, queries, service
from fedward_server.sites.fleet_routes import Sites
from fedward_server.sites.models import CreateInvitationRequest, Dataset, Invitation, Site

router = APIRouter(tags=["sites"])


@router.post("/sites/invitations", status_code=201, dependencies=[ADMIN])
async def invite_site(request: CreateInvitationRequest, database: Tables) -> Invitation:
    """Make a token with which a site can enrol, once. It is shown this once."""
    async with database.writing() as session:
        return await invitations.invite(session, request)


@router.get("/sites", dependencies=[READER])
async def list_sites(database: Tables) -> list[Site]:
    """Every enrolled site, by name."""
    async with database.reading() as session:
        return await service.list_sites(session)


@router.get("/sites/{name}", dependencies=[READER])
async def show_site(name: str, database: Tables) -> Site:
    """One enrolled site."""
    async with database.reading() as session:
        return service.as_site(await queries.site_named(session, name))


@router.delete("/sites/{name}", status_code=204, dependencies=[ADMIN])
async def revoke_site(name: str, database: Tables, keyring: Keys, fleet: Sites) -> None:
    """Revoke a site: its key is dead at once."""
    async with database.writing() as session:
        await service.revoke(session, name)
    keyring.forget()
    await fleet.forget(name)


@router.get("/datasets", dependencies=[READER])
async def list_datasets(database: Tables) -> list[Dataset]:
    """Every dataset that an enrolled site has, in counts."""
    async with database.reading() as session:
        return await service.list_datasets(session)
