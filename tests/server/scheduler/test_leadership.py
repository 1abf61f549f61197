"""Of two coordinators on one database, one acts."""

import time
from typing import Any

import pytest

from fedward_server.errors import ConflictError
from fedward_server.scheduler.leadership import LEASE_S, Leadership

now_s = time.time


async def take(office: Any, claim: Leadership, place: str) -> None:
    async with office.database.writing() as session:
        await claim.take(session, place)


async def renew(office: Any, claim: Leadership) -> bool:
    async with office.database.writing() as session:
        return await claim.renew(session)


def later(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    monkeypatch.setattr("fedward_server.scheduler.leadership.time.time", lambda: now_s() + seconds)


def test_a_second_coordinator_is_refused_while_the_first_lives(in_office: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def check(office: Any) -> None:
        later(monkeypatch, LEASE_S - 1)
        with pytest.raises(ConflictError, match="another coordinator"):
            await take(office, Leadership(), "elsewhere")
        assert await renew(office, office.leadership)
        later(monkeypatch, 2 * (LEASE_S - 1))
        with pytest.raises(ConflictError):
            await take(office, Leadership(), "elsewhere")

    in_office(check)


def test_a_lease_that_lapsed_is_taken_over_and_the_first_never_acts_again(
    in_office: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def check(office: Any) -> None:
        second = Leadership()
        later(monkeypatch, 10 * LEASE_S)
        await take(office, second, "elsewhere")
        assert await renew(office, second)
        assert not await renew(office, office.leadership)
        assert not await office.scheduler.step()
        assert office.attempts.started == 0

    in_office(check)


def test_a_lease_that_lapsed_and_that_nobody_took_is_kept(in_office: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def check(office: Any) -> None:
        later(monkeypatch, 10 * LEASE_S)
        assert await renew(office, office.leadership)

    in_office(check)


def test_whoever_starts_again_at_the_same_place_need_not_wait(in_office: Any) -> None:
    async def check(office: Any) -> None:
        again = Leadership()
        await take(office, again, "here")
        assert await renew(office, again)

    in_office(check)


def test_a_coordinator_that_lost_its_lease_ends(in_office: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def check(office: Any) -> None:
        ended = []
        office.scheduler._lost = lambda: ended.append(True)
        later(monkeypatch, 10 * LEASE_S)
        await take(office, Leadership(), "elsewhere")
        await office.scheduler.run()
        assert ended == [True]

    in_office(check)
