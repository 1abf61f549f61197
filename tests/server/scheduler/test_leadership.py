"""Of two coordinators on one database, one acts."""

import asyncio
import time
from typing import Any

import pytest

from fedward_server.api.background import acting
from fedward_server.errors import ConflictError, DatabaseAwayError
from fedward_server.scheduler.leadership import LEASE_S, Leadership, LeadershipRow

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


async def renewed_s(office: Any) -> float:
    async with office.database.reading() as session:
        return float((await session.get_one(LeadershipRow, "acting")).renewed_s)


def test_a_claim_is_kept_while_work_on_a_run_outlasts_the_lease(
    in_office: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def check(office: Any) -> None:
        monkeypatch.setattr("fedward_server.scheduler.leadership.RENEW_S", 0.0)
        async with acting(office.leadership, office.database, lambda: None):
            later(monkeypatch, 2 * LEASE_S)  # and the scheduler takes no step
            while await renewed_s(office) < now_s() + LEASE_S:
                await asyncio.sleep(0)
            with pytest.raises(ConflictError, match="another coordinator"):
                await take(office, Leadership(), "elsewhere")

    in_office(check)


def test_a_claim_that_was_lost_is_told_of_at_once(in_office: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def check(office: Any) -> None:
        monkeypatch.setattr("fedward_server.scheduler.leadership.RENEW_S", 0.0)
        lost: list[bool] = []
        later(monkeypatch, 10 * LEASE_S)
        await take(office, Leadership(), "elsewhere")
        await office.leadership.keep(office.database, lambda: lost.append(True))
        assert lost == [True]

    in_office(check)


def test_a_database_that_is_away_for_a_moment_ends_no_claim(in_office: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def check(office: Any) -> None:
        monkeypatch.setattr("fedward_server.scheduler.leadership.RENEW_S", 0.0)
        answers: list[Any] = [DatabaseAwayError("ask again"), False]

        async def renew(_: Any) -> bool:
            answer = answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return bool(answer)

        monkeypatch.setattr(office.leadership, "renew", renew)
        await office.leadership.keep(office.database, lambda: None)
        assert answers == []

    in_office(check)
