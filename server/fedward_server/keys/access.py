"""Who may pass: reads the key of a request and compares its role."""

from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from fedward_server.database.database import Database
from fedward_server.errors import ForbiddenError, UnauthorizedError
from fedward_server.keys.models import ApiKey, Role
from fedward_server.keys.service import recognise

bearer = HTTPBearer(auto_error=False, description="An API key of the coordinator, fw_...")


def database_of(request: Request) -> Database:
    """The database of the application that got the request."""
    database: Database = request.app.state.database
    return database


Tables = Annotated[Database, Depends(database_of)]
Shown = Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]


def at_least(role: Role) -> Callable[[Database, HTTPAuthorizationCredentials | None], Coroutine[Any, Any, ApiKey]]:
    """A dependency that lets pass who has a role, or one that includes it."""

    async def check(database: Tables, shown: Shown) -> ApiKey:
        if shown is None:
            raise UnauthorizedError("an API key is needed: send it as 'Authorization: Bearer fw_...'")
        async with database.reading() as session:
            key = await recognise(session, shown.credentials)
        if not key.role.includes(role):
            raise ForbiddenError(f"key '{key.name}' has the role {key.role}, this needs {role}")
        return key

    return check


READER = Depends(at_least(Role.READER))
RESEARCHER = Depends(at_least(Role.RESEARCHER))
ADMIN = Depends(at_least(Role.ADMIN))
