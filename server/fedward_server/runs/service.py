"""Rules of runs: how they are submitted, shown and stopped."""

import secrets
import time

from sqlalchemy.ext.asyncio import AsyncSession

from fedward_core import registry
from fedward_core.packages import packages_named
from fedward_core.spec import Spec
from fedward_server.engines.installed import check_installed
from fedward_server.errors import ConflictError, InvalidError
from fedward_server.runs import queries
from fedward_server.runs.models import CreateRunRequest, Run, RunEvent, RunWithSpec
from fedward_server.runs.rows import RunRow
from fedward_server.runs.states import ACTIVE, RUN_MOVED, WAITING, WORKING, RunState, add_event, move_run
from fedward_server.sites.queries import forget_answers
from fedward_server.studies.models import Study
from fedward_server.studies.queries import study_named
from fedward_server.studies.service import as_study, fit_spec

DEPLOYMENT = "deployment"  # the engine that works with enrolled sites
# Decided here: what one answer holds of events is in memory many times over, and sites choose how long theirs are.
MOST_CHARS = 8 * 2**20
UNDER_WAY = (RunState.SUBMITTED, RunState.RECRUITING, *WORKING)


async def submit_run(
    session: AsyncSession, request: CreateRunRequest, spec: Spec, idempotency_key: str | None
) -> tuple[Run, bool]:
    """Check a run and queue it; submitting the same again gives the run that is there.

    Args:
        session: A transaction that writes.
        request: What was asked for.
        spec: The request's spec, parsed; a large one takes a while, and so is parsed outside the transaction.
        idempotency_key: Of the request, if it has one.

    Returns:
        The run, and whether it is new.

    Raises:
        SpecError: The spec does not fit the study, or needs what this machine lacks or cannot read.
        InvalidError: There is no such engine, or it or the number of workers does not fit the study.
        NotFoundError: There is no such study.
        ConflictError: Another run has this id or idempotency key.
    """
    study = as_study(await study_named(session, request.study))
    row = _row(request, spec, study, idempotency_key)
    there = await _already(session, request.run, idempotency_key)
    if there is not None:
        _check_same(there, row)
        return as_run(there), False
    session.add(row)
    await session.flush()
    facts = {"from": "", "to": row.state, "reason": ""}
    add_event(session, row, {"kind": RUN_MOVED, "time_s": row.created_s, "facts": facts})
    return as_run(row), True


async def stop_run(session: AsyncSession, run: str) -> Run:
    """Ask a run to end. Asking for the end of what has ended, or is about to, is fine.

    Raises:
        NotFoundError: There is no such run.
    """
    row = await queries.run_named(session, run, to_change=True)
    if row.state in ACTIVE and row.state != RunState.STOPPING:
        move_run(session, row, RunState.STOPPING, "stop was asked for")
    elif row.state in WAITING:
        move_run(session, row, RunState.CANCELLED, f"stopped while it was {row.state}")
    return as_run(row)


async def pause_run(session: AsyncSession, run: str) -> Run:
    """Ask a run to rest until it is resumed. Asking again is fine.

    Raises:
        NotFoundError: There is no such run.
        ConflictError: It is being stopped, or has ended.
    """
    row = await queries.run_named(session, run, to_change=True)
    if row.state in WORKING:
        move_run(session, row, RunState.PAUSING, "a pause was asked for")
    elif row.state not in (RunState.PAUSING, RunState.PAUSED):
        move_run(session, row, RunState.PAUSED, f"paused while it was {row.state}")
    return as_run(row)


async def resume_run(session: AsyncSession, run: str) -> Run:
    """Let a paused or failed run wait for its turn again; it goes on from its last round. Asking again is fine.

    A run whose sites were asked, and that has not begun, asks all of them anew: they may think otherwise by now.

    Raises:
        NotFoundError: There is no such run.
        ConflictError: It has not come to rest yet, is being stopped, or was completed or cancelled.
    """
    row = await queries.run_named(session, run, to_change=True)
    if row.state in UNDER_WAY:
        return as_run(row)
    move_run(session, row, RunState.SUBMITTED, "resumed")
    row.crashes, row.handle = 0, None
    if row.engine == DEPLOYMENT and not row.attempt:
        row.cohort = None
        await forget_answers(session, run)
    return as_run(row)


async def list_runs(session: AsyncSession, state: RunState | None, limit: int) -> list[Run]:
    """Runs, the newest first."""
    return [as_run(row) for row in await queries.newest_runs(session, state, limit)]


async def show_run(session: AsyncSession, run: str) -> RunWithSpec:
    """One run with its spec.

    Raises:
        NotFoundError: There is no such run.
    """
    row = await queries.run_named(session, run)
    return RunWithSpec(**as_run(row).model_dump(), spec=row.spec)


async def list_events(
    session: AsyncSession, run: str, after: int, limit: int, *, most_chars: int | None = MOST_CHARS
) -> list[RunEvent]:
    """Events of a run behind a sequence number, in order; where they are large, fewer than asked for, but not none.

    Raises:
        NotFoundError: There is no such run.
    """
    await queries.run_named(session, run)
    rows = await queries.events_after(session, run, after, limit, most_chars=most_chars)
    return [RunEvent(sequence=row.sequence, **row.event) for row in rows]


def as_run(row: RunRow) -> Run:
    """The run of a row."""
    plain = {name: getattr(row, name) for name in Run.model_fields if name != "name"}
    return Run(**plain, name=row.spec["name"])


def _engine(request: CreateRunRequest, study: Study) -> str:
    if study.enrolled:
        if request.engine in (None, DEPLOYMENT):
            return DEPLOYMENT
        raise InvalidError(f"study '{study.name}' has enrolled sites: leave engine out, or set it to '{DEPLOYMENT}'")
    engine = request.engine or "inline"
    known = registry.names("engines")
    if engine not in known:
        raise InvalidError(registry.unknown(f"engine '{engine}'", engine, known))
    return engine


def _check_workers(request: CreateRunRequest, study: Study) -> None:
    if study.enrolled and request.workers > 1:
        raise InvalidError(f"workers has no effect on the enrolled sites of study '{study.name}': leave it out")


def _row(request: CreateRunRequest, spec: Spec, study: Study, idempotency_key: str | None) -> RunRow:
    engine = _engine(request, study)
    _check_workers(request, study)
    spec, sites = fit_spec(spec, study)
    values = spec.model_dump(mode="json")
    if study.enrolled:
        packages_named(values)  # one without a digest could be proposed to no site
    else:
        check_installed(engine, spec)
    now = time.time()
    return RunRow(
        id=request.run or f"{spec.name}-{secrets.token_hex(4)}",
        study=request.study,
        idempotency_key=idempotency_key,
        spec=values,
        spec_digest=spec.digest(),
        sites=list(sites),
        cohort=None if study.enrolled else list(sites),
        engine=engine,
        workers=request.workers,
        state=RunState.SUBMITTED,
        reason="",
        attempt=0,
        num_events=0,
        created_s=now,
        moved_s=now,
    )


async def _already(session: AsyncSession, run: str | None, idempotency_key: str | None) -> RunRow | None:
    by_key = await queries.run_submitted_with(session, idempotency_key) if idempotency_key else None
    by_id = await session.get(RunRow, run) if run else None
    if by_key is not None and run and by_key.id != run:
        raise ConflictError(f"this idempotency key belongs to run '{by_key.id}': choose another key")
    return by_key or by_id


def _check_same(there: RunRow, wanted: RunRow) -> None:
    for what in ("spec_digest", "study", "sites", "engine", "workers"):
        if getattr(there, what) != getattr(wanted, what):
            raise ConflictError(
                f"run '{there.id}' is there already, with another {what.replace('_', ' ')}: "
                "choose another id or idempotency key"
            )
