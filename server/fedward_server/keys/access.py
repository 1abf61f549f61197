"""Who may pass: reads the key of a request and compares its role."""

from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from fedward_server.database.database import Database
from fedward_server.errors import ForbiddenError, UnauthorizedError
from fedward_server.keys.keyring import Keyring
from fedward_server.keys.models import ApiKey, Role

bearer = HTTPBearer(auto_error=False, description="An API key of the coordinator, fw_...")


def database_of(request: Request) -> Database:
    """The database of the application that got the request."""
    database: Database = request.app.state.database
    return database


def keyring_of(request: Request) -> Keyring:
    """The keys that the application remembers."""
    keyring: Keyring = request.app.state.keyring
    return keyring


Tables = Annotated[Database, Depends(database_of)]
Keys = Annotated[Keyring, Depends(keyring_of)]
Shown = Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]


async def any_key(database: Tables, keyring: Keys, shown: Shown) -> ApiKey:
    """A dependency that lets pass whoever has a key, of a person or a site."""
    if shown is None:
        raise UnauthorizedError("an API key is needed: send it as 'Authorization: Bearer fw_...'")
    return await keyring.recognise(database, shown.credentials)


ANY_KEY = Depends(any_key)


def at_least(role: Role) -> Callable[[ApiKey], Coroutine[Any, Any, ApiKey]]:
    """A dependency that lets pass who has a role, or one that includes it."""

    async def check(key: Annotated[ApiKey, ANY_KEY]) -> ApiKey:
        if not key.role.includes(role):
            raise ForbiddenError(f"key '{key.name}' has the role {key.role}, this needs {role}")
        return key

    return check


READER = Depends(at_least(Role.READER))
RESEARCHER = Depends(at_least(Role.RESEARCHER))
ADMIN = Depends(at_least(Role.ADMIN))


async def site_of_key(key: Annotated[ApiKey, Depends(at_least(Role.AGENT))]) -> str:
    """The site that the key of a request speaks for."""
    assert key.site is not None
    return key.site


OwnSite = Annotated[str, Depends(site_of_key)]
