"""What the scheduler makes of each thing that may happen to a run."""

import json
import os
import time
from typing import Any

import pytest

from fedward_core.spec import Spec
from fedward_server.engines.attempts import Outcome
from fedward_server.runs.models import CreateRunRequest
from fedward_server.runs.queries import ask_until, events_after, run_named
from fedward_server.runs.service import list_events, pause_run, resume_run, stop_run, submit_run
from fedward_server.runs.states import RunState, move_run
from fedward_server.scheduler.task import lease_task, write_back
from fedward_server.scheduler.work import GRACE_S, MAX_CRASHES
from fedward_server.sites.rows import AnswerRow, SiteRow
from fedward_server.sites.service import OFFLINE_S
from fedward_server.sites.versions import our_versions
from fedward_server.studies.models import CreateStudyRequest
from fedward_server.studies.service import create_study

ROUND = json.dumps({"kind": "round_finished", "time_s": 1.0, "stage": "only", "round": 0, "site": None, "facts": {}})


async def stop(office: Any) -> None:
    async with office.database.writing() as session:
        await stop_run(session, "run-1")


async def kinds(office: Any) -> list[str]:
    async with office.database.reading() as session:
        return [row.event["kind"] for row in await events_after(session, "run-1", 0, 100)]


def tell(office: Any, text: str) -> None:
    folder = office.home.run("run-1")
    folder.path.mkdir(parents=True, exist_ok=True)
    with folder.events.open("a") as file:
        file.write(text)


@pytest.mark.parametrize(
    ("ending", "state"), [("completed", RunState.COMPLETED), ("failed", RunState.FAILED)], ids=["well", "badly"]
)
def test_a_run_ends_as_its_attempt_did(ending: Any, state: RunState, in_office: Any) -> None:
    async def check(office: Any) -> None:
        await office.step_to("running")
        office.attempts.alive, office.attempts.ending = False, Outcome(state=ending, reason="because")
        row = await office.step_to(state)
        assert row.reason == ("because" if ending == "failed" else "")

    in_office(check)


def test_a_reason_names_no_folder_of_the_machine(in_office: Any) -> None:
    async def check(office: Any) -> None:
        await office.step_to("running")
        reason = f"cannot read '{office.home.path}/runs/run-1/x'"
        office.attempts.alive, office.attempts.ending = False, Outcome(state="failed", reason=reason)
        assert (await office.step_to("failed")).reason == "cannot read '…/runs/run-1/x'"

    in_office(check)


def test_an_attempt_that_dies_is_followed_by_another_until_too_many_did(in_office: Any) -> None:
    async def check(office: Any) -> None:
        for attempt in range(1, MAX_CRASHES):
            assert (await office.step_to("running")).attempt == attempt
            office.attempts.alive = False
            assert "died" in (await office.step_to("starting")).reason
        await office.step_to("running")
        office.attempts.alive = False
        assert "without finishing a round" in (await office.step_to("failed")).reason
        assert office.attempts.started == MAX_CRASHES

    in_office(check)


def test_a_finished_round_makes_up_for_attempts_that_died(in_office: Any) -> None:
    async def check(office: Any) -> None:
        for _ in range(MAX_CRASHES + 2):
            await office.step_to("running")
            tell(office, ROUND + "\n")
            office.attempts.alive = False
            assert (await office.step_to("starting")).crashes <= 1

    in_office(check)


def test_an_attempt_ended_from_outside_does_not_count_as_one_that_died(in_office: Any) -> None:
    async def check(office: Any) -> None:
        office.attempts.ending = Outcome(state="stopped")
        for _ in range(MAX_CRASHES + 2):
            await office.step_to("running")
            office.attempts.alive = False
            assert (await office.step_to("starting")).crashes == 0

    in_office(check)


def test_an_attempt_that_cannot_be_started_is_tried_again_and_then_fails_the_run(in_office: Any) -> None:
    async def check(office: Any) -> None:
        office.attempts.refuses = OSError(28, "No space left on device")
        row = await office.step_to("failed")
        assert "could not be started: No space left" in row.reason
        assert (row.attempt, row.crashes) == (1, MAX_CRASHES)

    in_office(check)


def test_a_start_that_fails_once_is_not_the_end_of_the_run(in_office: Any) -> None:
    async def check(office: Any) -> None:
        await office.step_to("starting")
        office.attempts.refuses = OSError(11, "Resource temporarily unavailable")
        await office.scheduler.step()
        office.attempts.refuses = None
        assert (await office.step_to("running")).crashes == 1

    in_office(check)


def test_a_fault_of_the_coordinator_itself_does_not_leave_a_run_standing(
    in_office: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def check(office: Any) -> None:
        await office.step_to("running")
        monkeypatch.setattr(office.attempts, "poll", lambda handle: 1 / 0)
        row = await office.step_to("failed")
        assert row.reason == "the run could not be looked after: a fault of the coordinator itself (ZeroDivisionError)"
        assert office.attempts.stopped == [True]

    in_office(check)


def test_a_run_that_is_paused_rests_until_it_is_resumed_and_then_goes_on(in_office: Any) -> None:
    async def check(office: Any) -> None:
        await office.step_to("running")
        async with office.database.writing() as session:
            await pause_run(session, "run-1")
        await office.step_to("pausing")
        assert office.attempts.stopped == [False]
        office.attempts.alive, office.attempts.ending = False, Outcome(state="stopped")
        row = await office.step_to("paused")
        assert (row.reason, row.handle) == ("paused on request", None)
        assert not await office.scheduler.step()
        async with office.database.writing() as session:
            assert (await resume_run(session, "run-1")).state == "submitted"
        assert (await office.step_to("running")).attempt == 2

    in_office(check)


def test_a_run_that_failed_is_resumed_with_all_its_tries(in_office: Any) -> None:
    async def check(office: Any) -> None:
        for _ in range(MAX_CRASHES - 1):
            await office.step_to("running")
            office.attempts.alive = False
            await office.step_to("starting")
        await office.step_to("running")
        office.attempts.alive = False
        await office.step_to("failed")
        async with office.database.writing() as session:
            assert (await resume_run(session, "run-1")).state == "submitted"
        row = await office.step_to("running")
        assert (row.attempt, row.crashes) == (MAX_CRASHES + 1, 0)

    in_office(check)


def test_a_resumed_run_that_is_stopped_before_it_starts_does_not_fail_of_what_it_failed_before(in_office: Any) -> None:
    async def check(office: Any) -> None:
        await office.step_to("running")
        office.attempts.alive, office.attempts.ending = False, Outcome(state="failed", reason="the disk was full")
        await office.step_to("failed")
        async with office.database.writing() as session:
            await resume_run(session, "run-1")
        await office.step_to("starting")
        await stop(office)
        assert (await office.step_to("cancelled")).reason == "stopped on request"

    in_office(check)


def test_a_run_that_ends_while_it_is_being_paused_has_ended(in_office: Any) -> None:
    async def check(office: Any) -> None:
        await office.step_to("running")
        async with office.database.writing() as session:
            await pause_run(session, "run-1")
        office.attempts.alive, office.attempts.ending = False, Outcome(state="completed")
        await office.step_to("completed")

    in_office(check)


def test_each_event_is_taken_once_and_a_line_without_an_end_waits(in_office: Any) -> None:
    async def check(office: Any) -> None:
        await office.step_to("running")
        before = len(await kinds(office))
        tell(office, ROUND + "\n" + ROUND[:10])
        for _ in range(3):
            await office.step_to("running")
        assert len(await kinds(office)) == before + 1
        tell(office, ROUND[10:] + "\n")
        await office.step_to("running")
        assert len(await kinds(office)) == before + 2

    in_office(check)


def test_an_answer_holds_few_events_where_they_are_large_and_asking_on_gives_all(in_office: Any) -> None:
    async def check(office: Any) -> None:
        await office.step_to("running")
        sizes = (10, 50_000, 10, 10, 150_000, 10)
        for size in sizes:
            tell(office, json.dumps({"kind": "warning", "time_s": 0.0, "facts": {"reason": "x" * size}}) + "\n")
        await office.step_to("running")
        pages, seen = [], 0
        async with office.database.reading() as session:
            while page := await list_events(session, "run-1", seen, 1000, most_chars=100_000):
                pages.append([len(event.facts["reason"]) for event in page if event.kind == "warning"])
                seen = page[-1].sequence
        assert pages == [[10, 50_000, 10, 10], [150_000], [10]]

    in_office(check)


def lose(office: Any, size: int) -> None:
    """What a power cut does to a file that was never flushed to disk."""
    os.truncate(office.home.run("run-1").events, size)


def test_events_that_a_power_cut_took_hold_no_run_up(in_office: Any) -> None:
    async def check(office: Any) -> None:
        await office.step_to("running")
        tell(office, 3 * (ROUND + "\n"))
        assert (await office.step_to("running")).bytes_read == 3 * (len(ROUND) + 1)
        lose(office, len(ROUND) + 11)
        office.attempts.alive = False
        row = await office.step_to("starting")
        before = len(await kinds(office))
        assert (await office.step_to("running")).bytes_read == len(ROUND) + 1
        lose(office, row.bytes_read // 3)  # the half line, as an attempt does when it begins
        tell(office, ROUND + "\n")
        await office.step_to("running")
        assert (await kinds(office))[before:] == ["run_moved", "round_finished"]

    in_office(check)


def test_a_folder_that_is_gone_is_read_from_its_first_event_again(in_office: Any) -> None:
    async def check(office: Any) -> None:
        await office.step_to("running")
        tell(office, 3 * (ROUND + "\n"))
        await office.step_to("running")
        office.home.run("run-1").events.unlink()
        office.attempts.alive = False
        await office.step_to("starting")
        assert (await office.step_to("running")).bytes_read == 0

    in_office(check)


@pytest.mark.parametrize("damaged", [ROUND[20:].encode(), b"5", bytes(40) + ROUND.encode(), b"\xff\xfe"])
def test_a_damaged_line_is_left_out_and_those_behind_it_are_taken(damaged: bytes, in_office: Any) -> None:
    async def check(office: Any) -> None:
        await office.step_to("running")
        before = len(await kinds(office))
        tell(office, "")
        with office.home.run("run-1").events.open("ab") as file:
            file.write(damaged + b"\n" + ROUND.encode() + b"\n")
        await office.step_to("running")
        assert (await kinds(office))[before:] == ["round_finished"]
        await stop(office)
        office.attempts.alive = False
        await office.step_to("cancelled")

    in_office(check)


def test_a_run_that_is_stopped_is_asked_first_and_ended_by_force_later(
    in_office: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def check(office: Any) -> None:
        await office.step_to("running")
        await stop(office)
        await office.step_to("stopping")
        assert office.attempts.stopped == [False]
        monkeypatch.setattr("fedward_server.scheduler.work.GRACE_S", -GRACE_S)
        await office.step_to("stopping")
        assert office.attempts.stopped == [False, True]
        office.attempts.alive = False
        assert (await office.step_to("cancelled")).reason == "stopped on request"

    in_office(check)


def test_a_run_that_is_stopped_while_its_attempt_starts_does_not_lose_the_attempt(in_office: Any) -> None:
    async def check(office: Any) -> None:
        await office.step_to("starting")
        async with office.database.writing() as session:
            task = await lease_task(session, max_active=1)
        assert task is not None
        finding = office.work.do(task)
        await stop(office)
        async with office.database.writing() as session:
            assert await write_back(session, task, finding)
        assert (await office.step_to("stopping")).handle == {"number": 1}
        assert office.attempts.stopped

    in_office(check)


def test_an_attempt_whose_handle_was_never_stored_is_found_and_stopped(in_office: Any) -> None:
    async def check(office: Any) -> None:
        await office.step_to("starting")
        office.attempts.start(None, None)  # and then the coordinator was killed
        await stop(office)
        await office.step_to("stopping")
        assert office.attempts.stopped == [False]

    in_office(check)


def test_after_a_start_sites_get_the_time_that_agents_need_to_come_back(in_office: Any) -> None:
    async def check(office: Any) -> None:
        await recruiting(office, last_seen_s=time.time() - 2 * OFFLINE_S, until_s=time.time() + 1000)
        office.work._all_back_s = time.time()
        assert (await office.step_to("recruiting", "asking")).cohort is None
        office.work._all_back_s = time.time() - OFFLINE_S - 1
        row = await office.step_to("failed", "asking")
        assert "north: it is offline" in row.reason

    in_office(check)


def test_a_coordinator_that_was_away_lets_sites_answer_longer(in_office: Any) -> None:
    async def check(office: Any) -> None:
        await recruiting(office, last_seen_s=None, until_s=1000.0)
        async with office.database.writing() as session:
            await ask_until(session, 2000.0)
            await ask_until(session, 1500.0)
            assert (await run_named(session, "asking")).recruits_until_s == 2000.0
            assert (await run_named(session, "run-1")).recruits_until_s == 0.0

    in_office(check)


def test_a_run_whose_sites_have_agreed_waits_for_its_turn(in_office: Any) -> None:
    async def check(office: Any) -> None:
        await office.step_to("running")
        await recruiting(office, last_seen_s=time.time(), until_s=time.time() + 1000)
        async with office.database.writing() as session:
            answer = {"run": "asking", "site": "north", "takes_part": True, "reason": "", "answered_s": 0.0}
            session.add(AnswerRow(**answer))
        for _ in range(2):
            async with office.database.writing() as session:
                (await run_named(session, "run-1")).due_s = time.time() + 30  # it would always come first
                (await run_named(session, "asking")).due_s = 0.0
            assert await office.scheduler.step()
            async with office.database.reading() as session:
                assert (await run_named(session, "asking")).state == RunState.RECRUITING
        office.attempts.alive, office.attempts.ending = False, Outcome(state="stopped")
        await office.step_to("paused")
        assert (await office.step_to("starting", "asking")).cohort == ["north"]

    in_office(check)


def test_a_run_that_has_begun_goes_on_with_the_sites_that_it_has(in_office: Any) -> None:
    """A resumed run is taken up from its last round, which rests on them."""

    async def check(office: Any) -> None:
        await recruiting(office, last_seen_s=None, until_s=1000.0)
        async with office.database.writing() as session:
            row = await run_named(session, "asking")
            row.cohort, row.attempt = ["north"], 1
            move_run(session, row, RunState.FAILED)
            assert (await resume_run(session, "asking")).cohort == ("north",)
        assert (await office.step_to("starting", "asking")).cohort == ["north"]

    in_office(check)


async def recruiting(office: Any, *, last_seen_s: float | None, until_s: float) -> None:
    """A run that has asked a site for long."""
    versions = our_versions().model_dump()
    async with office.database.writing() as session:
        await pause_run(session, "run-1")  # it would always come first
        session.add(SiteRow(name="north", public_key="", enrolled_s=0.0, last_seen_s=last_seen_s, **versions))
        await session.flush()
        study = CreateStudyRequest(name="network", sites=("north",), enrolled=True)
        await create_study(session, study, study.sites)
        spec = {**office.spec, "cohort": {"min_sites": 1}}
        request = CreateRunRequest(study="network", spec=spec, run="asking")
        await submit_run(session, request, Spec.parse(spec), None)
        row = await run_named(session, "asking")
        move_run(session, row, RunState.RECRUITING)
        row.app, row.recruits_until_s, row.moved_s = "a", until_s, 0.0
