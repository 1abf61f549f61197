"""A database that is away for a while: requests are told to ask again, and the scheduler goes on afterwards."""

import asyncio
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import URL

from fedward_server.database.database import Database
from fedward_server.errors import DatabaseAwayError


class Relay:
    """A line to PostgreSQL that can be cut.

    Args:
        server: Where PostgreSQL listens.
    """

    def __init__(self, server: tuple[str, int]) -> None:
        self._server = server
        self._ends: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.is_cut = False
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        self.is_cut = True
        for end in self._ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        self._ends.clear()

    def close(self) -> None:
        self.cut()
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                here, _ = self._listener.accept()
                if self.is_cut:
                    here.close()
                    continue
                there = socket.create_connection(self._server)
                self._ends += [here, there]
                for one, other in ((here, there), (there, here)):
                    threading.Thread(target=self._pass_on, args=(one, other), daemon=True).start()

    @staticmethod
    def _pass_on(one: socket.socket, other: socket.socket) -> None:
        with suppress(OSError):
            while data := one.recv(65536):
                other.sendall(data)
        for end in (one, other):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


@pytest.fixture
def relay(place: Path | URL) -> Iterator[Relay]:
    if isinstance(place, Path):
        pytest.skip("an SQLite file is never away")
    made = Relay((place.host or "127.0.0.1", place.port or 5432))
    yield made
    made.close()


def address(place: URL, port: int | None) -> str:
    return place.set(host="127.0.0.1", port=port).render_as_string(hide_password=False)


@pytest.mark.slow
def test_a_run_goes_on_after_the_database_was_away_for_ten_seconds(
    relay: Relay, place: URL, tmp_path: Path, coordinator_at: Any
) -> None:
    coordinator = coordinator_at(tmp_path / "home", database=address(place, relay.port))
    coordinator.start()
    try:
        coordinator.submit("drill-1", 100)
        coordinator.wait("drill-1", "running")
        relay.cut()
        until = time.monotonic() + 10
        while time.monotonic() < until:
            answer = coordinator.call("GET", "/runs/drill-1")
            assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
            assert coordinator.call("GET", "/health").status_code == 503
            time.sleep(0.5)
        relay.is_cut = False
        assert coordinator.wait("drill-1", "completed")["attempt"] == 1
    finally:
        coordinator.close()


@pytest.mark.slow
def test_a_second_coordinator_on_one_database_says_why_it_does_not_start(
    relay: Relay, place: URL, tmp_path: Path, coordinator_at: Any
) -> None:
    first = coordinator_at(tmp_path / "first", database=address(place, place.port))
    second = coordinator_at(tmp_path / "second", database=address(place, place.port))
    first.start()
    try:
        refused = subprocess.run(second.command, capture_output=True, text=True, timeout=120, check=False)
        assert refused.returncode != 0
        assert "another coordinator, with another home folder" in refused.stderr.splitlines()[-1]
        assert first.call("GET", "/health").status_code == 200
        first.kill()
        first.start()
        assert first.call("GET", "/health").status_code == 200
    finally:
        first.close()


def test_a_database_that_cannot_be_reached_is_away_and_not_a_fault() -> None:
    async def check() -> None:
        database = Database(URL.create("postgresql", host="127.0.0.1", port=9, database="none"))
        with pytest.raises(DatabaseAwayError):
            await database.migrate()
        await database.close()

    asyncio.run(check())
