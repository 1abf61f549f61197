"""The table of transitions: every state can be reached, and left for an end."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from fedward_server.database.database import Database
from fedward_server.errors import ConflictError
from fedward_server.runs.queries import events_after
from fedward_server.runs.rows import RunRow
from fedward_server.runs.states import ACTIVE, ENDS, TRANSITIONS, RunState, move_run
from fedward_server.studies.rows import StudyRow


def reachable(start: RunState) -> set[RunState]:
    found, new = {start}, [start]
    while new:
        following = TRANSITIONS[new.pop()] - found
        found |= following
        new += following
    return found


def test_every_state_is_reached_from_submission() -> None:
    assert reachable(RunState.SUBMITTED) == set(RunState) == TRANSITIONS.keys()


@pytest.mark.parametrize("state", RunState)
def test_every_state_leads_to_a_failure_and_a_cancellation_or_is_an_end(state: RunState) -> None:
    if state in {RunState.COMPLETED, RunState.CANCELLED}:
        assert state.is_end
        assert reachable(state) == {state}
    else:
        assert {RunState.FAILED, RunState.CANCELLED} <= reachable(state)


def test_a_run_is_waiting_under_way_or_at_its_end() -> None:
    waiting = (RunState.SUBMITTED, RunState.RECRUITING, RunState.PAUSED)
    assert sorted((*waiting, *ACTIVE, *ENDS)) == sorted(RunState)


@pytest.mark.parametrize("to", RunState)
@pytest.mark.parametrize("state", RunState)
def test_a_move_is_written_with_its_event_or_refused_and_nothing_written(
    state: RunState, to: RunState, tmp_path: Path
) -> None:
    async def check() -> None:
        database = Database(tmp_path / "coordinator.db")
        await database.migrate()
        async with database.writing() as session:
            session.add(StudyRow(name="drill", data=None, sites=[], classes=[], created_s=0.0))
            await session.flush()
            session.add(row(state))
        allowed = to in TRANSITIONS[state]
        try:
            async with database.writing() as session:
                move_run(session, await session.get_one(RunRow, "run-1"), to, "why")
        except ConflictError:
            assert not allowed
        async with database.reading() as session:
            found = await session.get_one(RunRow, "run-1")
            events = [one.event["facts"] for one in await events_after(session, "run-1", 0, 10)]
        assert found.state == (to if allowed else state)
        assert events == ([{"from": state, "to": to, "reason": "why"}] if allowed else [])
        await database.close()

    asyncio.run(check())


def row(state: RunState) -> RunRow:
    facts: dict[str, Any] = {"spec": {}, "spec_digest": "", "sites": [], "engine": "inline", "workers": 1}
    return RunRow(id="run-1", study="drill", state=state, num_events=0, created_s=0.0, moved_s=0.0, **facts)
