"""Keys that are remembered for a moment, and forgotten when one is taken back."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from fedward_server.database.database import Database
from fedward_server.errors import UnauthorizedError
from fedward_server.keys import keyring as module
from fedward_server.keys.keyring import KNOWN_S, Keyring
from fedward_server.keys.models import ApiKey, Role


class Tables:
    """A database that holds keys by what is shown, and counts how often it is read."""

    def __init__(self) -> None:
        self.keys = {"fw_one": ApiKey(name="one", role=Role.READER, created_s=0.0)}
        self.reads = 0

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Any]:
        self.reads += 1
        yield self


@pytest.fixture
def tables(monkeypatch: pytest.MonkeyPatch) -> Tables:
    async def recognise(session: Tables, key: str) -> ApiKey:
        if key not in session.keys:
            raise UnauthorizedError("not known here")
        found = session.keys[key]
        await asyncio.sleep(0)  # others work meanwhile, as while a real database is read
        return found

    monkeypatch.setattr(module, "recognise", recognise)
    return Tables()


def shown(keyring: Keyring, tables: Tables) -> Callable[[], Awaitable[ApiKey]]:
    return lambda: keyring.recognise(cast("Database", tables), "fw_one")


@pytest.mark.parametrize(("known_s", "reads"), [(KNOWN_S, 1), (-1.0, 3)], ids=["within the time", "after it"])
def test_a_key_is_looked_up_once_in_a_while_and_known_in_between(
    known_s: float, reads: int, tables: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "KNOWN_S", known_s)
    show = shown(Keyring(), tables)

    async def check() -> None:
        assert [(await show()).name for _ in range(3)] == ["one"] * 3

    asyncio.run(check())
    assert tables.reads == reads


def test_a_key_that_is_taken_back_opens_nothing_from_then_on(tables: Tables) -> None:
    keyring = Keyring()
    show = shown(keyring, tables)

    async def check() -> None:
        await show()
        del tables.keys["fw_one"]
        keyring.forget()
        with pytest.raises(UnauthorizedError):
            await show()

    asyncio.run(check())


def test_a_key_that_is_taken_back_while_it_is_looked_up_is_not_remembered(tables: Tables) -> None:
    keyring = Keyring()
    show = shown(keyring, tables)

    async def check() -> None:
        asking = asyncio.ensure_future(show())
        await asyncio.sleep(0)
        assert tables.reads == 1
        del tables.keys["fw_one"]
        keyring.forget()
        await asking
        with pytest.raises(UnauthorizedError):
            await show()

    asyncio.run(check())
