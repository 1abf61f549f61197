"""What a heartbeat is answered: the runs that ask, those that are to be ended, and whether to look often."""

import time
from typing import Any

import pytest

from fedward_core.fleet_messages import Heartbeat, Proposal
from fedward_server.runs.queries import run_named
from fedward_server.runs.states import RunState
from fedward_server.sites.board import Wishes, _read
from fedward_server.sites.versions import our_versions


def heartbeat(*runs: str) -> Heartbeat:
    return Heartbeat(versions=our_versions(), free_disk_bytes=1, clock_s=0.0, runs=runs)


def proposal(run: str, *, expires_s: float) -> Proposal:
    return Proposal(run=run, study="s", spec={}, spec_digest="d", app="a" * 64, expires_s=expires_s)


def test_a_proposal_is_told_until_it_expires() -> None:
    """The board may have been read before that, and its run goes on without the site from then on."""
    now = time.time()
    asking = [proposal("over", expires_s=now - 1), proposal("open", expires_s=now + 60)]
    wishes = Wishes(proposals={"north": asking}, working={}, cards={})
    told = wishes.for_site("north", heartbeat(), 5.0)
    assert [one.run for one in told.proposals] == ["open"]
    assert not wishes.for_site("hill", heartbeat(), 5.0).proposals


@pytest.mark.parametrize(
    ("state", "wanted"),
    [
        (RunState.RECRUITING, False),
        (RunState.STARTING, True),
        (RunState.RUNNING, True),
        (RunState.PAUSING, False),
        (RunState.STOPPING, False),
        (RunState.FAILED, False),
    ],
)
def test_a_site_works_for_the_runs_under_way_that_it_takes_part_in_and_ends_all_others(
    state: RunState, wanted: bool, in_office: Any
) -> None:
    async def check(office: Any) -> None:
        async with office.database.writing() as session:
            row = await run_named(session, "run-1")
            row.state, row.app, row.cohort = state, "a" * 64, ["a", "b"]
        async with office.database.reading() as session:
            wishes = await _read(session)
        told = wishes.for_site("a", heartbeat("run-1", "run-2"), 5.0)
        assert (told.ended, told.active) == ((("run-2",), True) if wanted else (("run-1", "run-2"), False))
        stranger = wishes.for_site("c", heartbeat("run-1"), 5.0)
        assert (stranger.ended, stranger.active) == (("run-1",), False)

    in_office(check)
