"""What the board tells sites, while others change what it says."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from fedward_server.database.database import Database
from fedward_server.sites import board
from fedward_server.sites.board import Board, Wishes


def test_a_site_that_tells_something_while_another_is_answered_takes_nothing_from_the_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told, reads = Board(), list[Wishes]()

    async def read(session: object) -> Wishes:
        reads.append(Wishes(proposals={}, working={}, cards={}))
        return reads[-1]

    class Tables:
        @asynccontextmanager
        async def reading(self) -> AsyncIterator[Any]:
            yield None
            told.forget()  # another request, while this one gives its connection back

    monkeypatch.setattr(board, "_read", read)
    tables = cast("Database", Tables())

    async def ask_twice() -> list[Wishes]:
        return [await told.wishes(tables), await told.wishes(tables)]

    assert asyncio.run(ask_twice()) == reads
    assert len(reads) == 2
