"""Who works on a run, and what becomes of what those write whose lease was taken over."""

import asyncio
import time
from typing import Any

from fedward_server.runs.queries import events_after, forget_leases, run_named
from fedward_server.runs.states import RunState
from fedward_server.scheduler.task import LEASE_S, Finding, lease_task, write_back

MOVE = Finding(to=RunState.STARTING)


async def lease(office: Any, *, max_active: int = 1, now_s: float | None = None) -> Any:
    async with office.database.writing() as session:
        return await lease_task(session, max_active=max_active, now_s=now_s)


async def write(office: Any, task: Any, finding: Finding) -> bool:
    async with office.database.writing() as session:
        return await write_back(session, task, finding)


async def state_of(office: Any) -> tuple[str, int]:
    async with office.database.reading() as session:
        row = await run_named(session, "run-1")
        assert len(await events_after(session, "run-1", 0, 100)) == row.num_events
        return row.state, row.num_events


def test_of_many_who_want_a_run_one_gets_it(in_office: Any) -> None:
    async def check(office: Any) -> None:
        leased = await asyncio.gather(*(lease(office) for _ in range(8)))
        assert len([task for task in leased if task is not None]) == 1

    in_office(check)


def test_a_stale_lease_is_retaken_and_its_token_writes_nothing(in_office: Any) -> None:
    async def check(office: Any) -> None:
        slow = await lease(office)
        assert await lease(office, now_s=time.time() + LEASE_S / 2) is None
        quick = await lease(office, now_s=time.time() + LEASE_S + 1)
        assert quick.run == slow.run
        assert not await write(office, slow, Finding(to=RunState.FAILED, events=({"kind": "warning"},)))
        assert await state_of(office) == ("submitted", 1)
        assert await write(office, quick, MOVE)
        assert await state_of(office) == ("starting", 2)
        assert not await write(office, quick, Finding(to=RunState.RUNNING))

    in_office(check)


def test_leases_of_a_coordinator_that_is_gone_can_be_forgotten(in_office: Any) -> None:
    async def check(office: Any) -> None:
        lost = await lease(office)
        async with office.database.writing() as session:
            await forget_leases(session)
        assert not await write(office, lost, MOVE)
        assert await lease(office) is not None

    in_office(check)


def test_a_clock_that_was_set_back_holds_no_run_up(in_office: Any) -> None:
    async def check(office: Any) -> None:
        await write(office, await lease(office), MOVE)
        assert await lease(office, now_s=time.time() - 30) is None
        assert await lease(office, now_s=time.time() - 3600) is not None

    in_office(check)


def test_runs_wait_while_as_many_as_allowed_are_under_way(in_office: Any) -> None:
    async def check(office: Any) -> None:
        await office.submit("run-2")
        await office.step_to("running")
        async with office.database.reading() as session:
            assert (await run_named(session, "run-2")).state == RunState.SUBMITTED
        await lease(office)  # run-1, which is under way
        assert await lease(office) is None
        assert (await lease(office, max_active=2)).run == "run-2"

    in_office(check)


def test_the_run_that_has_waited_longest_is_first(in_office: Any) -> None:
    async def check(office: Any) -> None:
        await office.submit("run-0")
        assert (await lease(office)).run == "run-1"
        assert (await lease(office)).run == "run-0"

    in_office(check)
