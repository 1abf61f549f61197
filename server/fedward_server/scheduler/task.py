"""One run that is due: leased with a token, worked on outside any transaction, and written back if the lease holds."""

import secrets
import time
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from fedward_core.events import EventKind
from fedward_server.engines.attempts import AttemptJob, Handle
from fedward_server.runs import queries
from fedward_server.runs.rows import RunRow
from fedward_server.runs.states import SITE_LEFT_OUT, RunState, add_event, move_run
from fedward_server.sites.queries import answers_to, sites_named
from fedward_server.sites.recruiting import Candidate, Recruitment
from fedward_server.studies.queries import study_named
from fedward_server.studies.rows import StudyRow

LEASE_S = 60.0
POLL_S = 0.3


@dataclass(frozen=True, kw_only=True)
class Task:
    """What the scheduler knows of a run while it works on it.

    Attributes:
        run: The run's id.
        token: Of the lease.
        state: Where the run stood when it was leased.
        moved_s: Since when, in seconds since the epoch.
        attempt: The newest attempt.
        crashes: Attempts that died since the last finished round.
        may_start: Whether another attempt may be under way.
        handle: How its process is found.
        bytes_read: How far its events were read.
        spec: The whole spec.
        sites: The sites that were asked for.
        cohort: Those that take part; None until they are known.
        recruits_until_s: When sites are waited for no longer.
        candidates: What is known of the sites while they are asked.
        engine: What carries it out.
        workers: Sites that train side by side.
        study: The study.
        enrolled: Whether its sites are hospitals.
        data: The study's data folder, if it has one.
    """

    run: str
    token: str
    state: RunState
    moved_s: float
    attempt: int
    crashes: int
    may_start: bool
    handle: Handle | None
    bytes_read: int
    spec: dict[str, Any]
    sites: tuple[str, ...]
    cohort: tuple[str, ...] | None
    recruits_until_s: float
    candidates: tuple[Candidate, ...] = ()
    engine: str
    workers: int
    study: str
    enrolled: bool
    data: str | None

    def job(self, data: str) -> AttemptJob:
        """What an attempt of the run carries out, with the data of a folder."""
        assert self.cohort is not None
        return AttemptJob(
            run=self.run, spec=self.spec, sites=self.cohort, data=data, engine=self.engine, workers=self.workers
        )


@dataclass(frozen=True, kw_only=True)
class Call:
    """How the sites of a run are asked.

    Attributes:
        app: The digest of the app bundle that they are asked to run.
        until_s: When they are waited for no longer.
    """

    app: str
    until_s: float


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What came out of the work on a task.

    Attributes:
        to: The state that the run moves to; None to stay.
        reason: Why.
        handle: The process of the attempt.
        crashed: Whether an attempt died without a word.
        events: New events, as plain values.
        bytes_read: How far events have been read now.
        call: How sites are to be asked from now on; None if that does not change.
        recruitment: Which sites take part, once that is known.
    """

    to: RunState | None = None
    reason: str = ""
    handle: Handle | None = None
    crashed: bool = False
    events: tuple[dict[str, Any], ...] = ()
    bytes_read: int = 0
    call: Call | None = None
    recruitment: Recruitment | None = None

    def moving(self, to: RunState, reason: str = "") -> "Finding":
        """The same, and the run moves."""
        return replace(self, to=to, reason=reason)


async def lease_task(session: AsyncSession, *, max_active: int, now_s: float | None = None) -> Task | None:
    """Lease the run that has waited longest, or None if no run is due.

    Args:
        session: A transaction that writes.
        max_active: Runs that may be under way at a time.
        now_s: The time, in seconds since the epoch; now, if it is left out.
    """
    now_s = time.time() if now_s is None else now_s
    may_start = await queries.num_active(session) < max_active
    row = await queries.next_due(session, now_s, may_start=may_start)
    if row is None:
        return None
    row.lease_token, row.lease_expires_s = secrets.token_hex(16), now_s + LEASE_S
    candidates = await _candidates(session, row) if row.state == RunState.RECRUITING else ()
    return _task(row, await study_named(session, row.study), candidates, may_start=may_start)


async def write_back(session: AsyncSession, task: Task, finding: Finding) -> bool:
    """Write what came out of a task, and let go of it.

    A run that was moved by somebody else meanwhile, because it was told to stop, is not moved again.

    Returns:
        Whether the lease still held; if not, nothing was written.
    """
    row = await queries.run_named(session, task.run, to_change=True)
    if row.lease_token != task.token:
        return False
    row.lease_token, row.due_s = None, time.time() + POLL_S
    _take_events(session, row, finding)
    row.crashes += finding.crashed
    row.handle = finding.handle
    if finding.to is not None and row.state == task.state:
        row.attempt += finding.to is RunState.STARTING
        _take_recruitment(session, row, finding)
        move_run(session, row, finding.to, finding.reason)
    return True


def _take_events(session: AsyncSession, row: RunRow, finding: Finding) -> None:
    for event in finding.events:
        add_event(session, row, event)
        if event["kind"] == EventKind.ROUND_FINISHED:
            row.crashes = 0
    row.bytes_read = finding.bytes_read


def _take_recruitment(session: AsyncSession, row: RunRow, finding: Finding) -> None:
    if finding.call is not None:
        row.app, row.recruits_until_s = finding.call.app, finding.call.until_s
    if finding.recruitment is None:
        return
    row.cohort = list(finding.recruitment.taking_part)
    for site, reason in finding.recruitment.left_out.items():
        add_event(
            session, row, {"kind": SITE_LEFT_OUT, "time_s": time.time(), "site": site, "facts": {"reason": reason}}
        )


async def _candidates(session: AsyncSession, row: RunRow) -> tuple[Candidate, ...]:
    rows = await sites_named(session, row.sites)
    answers = {answer.site: answer for answer in await answers_to(session, [row.id])}
    return tuple(Candidate.of(site, rows.get(site), answers.get(site)) for site in row.sites)


def _task(row: RunRow, study: StudyRow, candidates: tuple[Candidate, ...], *, may_start: bool) -> Task:
    assert row.lease_token is not None
    return Task(
        run=row.id,
        token=row.lease_token,
        state=RunState(row.state),
        moved_s=row.moved_s,
        attempt=row.attempt,
        crashes=row.crashes,
        may_start=may_start,
        handle=row.handle,
        bytes_read=row.bytes_read,
        spec=row.spec,
        sites=tuple(row.sites),
        cohort=None if row.cohort is None else tuple(row.cohort),
        recruits_until_s=row.recruits_until_s,
        candidates=candidates,
        engine=row.engine,
        workers=row.workers,
        study=row.study,
        enrolled=study.enrolled,
        data=study.data,
    )
