"""``/keys``: for administrators."""

from fastapi import APIRouter

from fedward_server.keys import service
from fedward_server.keys.access import ADMIN, Keys, Tables
from fedward_server.keys.models import ApiKey, CreateKeyRequest, NewKey

router = APIRouter(prefix="/keys", tags=["keys"], dependencies=[ADMIN])


@router.post("", status_code=201)
async def create_key(request: CreateKeyRequest, database: Tables) -> NewKey:
    """Make a key. It is shown this once."""
    async with database.writing() as session:
        return await service.create_key(session, request.name, request.role)


@router.get("")
async def list_keys(database: Tables) -> list[ApiKey]:
    """Every key by name, without what opens anything."""
    async with database.reading() as session:
        return await service.list_keys(session)


@router.delete("/{name}", status_code=204)
async def delete_key(name: str, database: Tables, keyring: Keys) -> None:
    """Take a key back."""
    async with database.writing() as session:
        await service.delete_key(session, name)
    keyring.forget()
