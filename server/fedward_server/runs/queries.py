"""What is asked of the tables of runs and events."""

from collections.abc import Collection, Sequence
from itertools import accumulate

from sqlalchemy import Text, cast, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from fedward_server.errors import NotFoundError
from fedward_server.runs.rows import EventRow, RunRow
from fedward_server.runs.states import ACTIVE, ENDS, RunState


async def run_named(session: AsyncSession, run: str, *, to_change: bool = False) -> RunRow:
    """One run.

    Args:
        session: A transaction, one that writes if the run is to be changed.
        run: Its id.
        to_change: Nobody else may change the run until the transaction ends.

    Raises:
        NotFoundError: There is none of this id.
    """
    row = await session.get(RunRow, run, with_for_update=to_change)
    if row is None:
        raise NotFoundError(f"there is no run '{run}'")
    return row


async def run_submitted_with(session: AsyncSession, key: str) -> RunRow | None:
    """The run that was submitted with an idempotency key."""
    return (await session.scalars(select(RunRow).where(RunRow.idempotency_key == key))).one_or_none()


async def newest_runs(session: AsyncSession, state: RunState | None, limit: int) -> Sequence[RunRow]:
    """Runs, the newest first."""
    query = select(RunRow).order_by(RunRow.created_s.desc(), RunRow.id).limit(limit)
    if state is not None:
        query = query.where(RunRow.state == state)
    return (await session.scalars(query)).all()


async def events_after(
    session: AsyncSession, run: str, after: int, limit: int, *, most_chars: int | None = None
) -> Sequence[EventRow]:
    """Events of a run behind a sequence number, in order.

    Args:
        session: A transaction.
        run: The run.
        after: The sequence number.
        limit: The most events.
        most_chars: The most characters of all of them together, as JSON, though there is always one; left out, any
            number.
    """
    if most_chars is not None:
        limit = await _num_within(session, run, after, limit, most_chars)
    query = select(EventRow).where(EventRow.run == run, EventRow.sequence > after)
    return (await session.scalars(query.order_by(EventRow.sequence).limit(limit))).all()


async def _num_within(session: AsyncSession, run: str, after: int, limit: int, most_chars: int) -> int:
    """How many events come to no more than so many characters; only their lengths leave the database."""
    query = select(func.length(cast(EventRow.event, Text))).where(EventRow.run == run, EventRow.sequence > after)
    lengths = (await session.scalars(query.order_by(EventRow.sequence).limit(limit))).all()
    within = [total for total in accumulate(lengths) if total <= most_chars]
    return max(1, len(within))


async def events_of_kinds(session: AsyncSession, run: str, kinds: Collection[str]) -> Sequence[EventRow]:
    """All events of a run that are of some kinds, in order."""
    kind = EventRow.event["kind"].as_string()
    query = select(EventRow).where(EventRow.run == run, kind.in_(kinds))
    return (await session.scalars(query.order_by(EventRow.sequence))).all()


async def num_active(session: AsyncSession) -> int:
    """How many runs may have an attempt under way."""
    return await session.scalar(select(func.count()).where(RunRow.state.in_(ACTIVE))) or 0


# An honest clock makes a run due within a minute; later than that, the clock was set back since.
LATEST_S = 60.0


async def next_due(session: AsyncSession, now_s: float, *, may_start: bool) -> RunRow | None:
    """The run that has waited longest for the scheduler and that nobody works on.

    Args:
        session: A transaction that writes.
        now_s: Seconds since the epoch.
        may_start: Whether another attempt may be under way; if not, no run is due that only waits for its start.
    """
    query = select(RunRow).where(
        RunRow.state.not_in((*ENDS, RunState.PAUSED)),
        or_(RunRow.due_s <= now_s, RunRow.due_s > now_s + LATEST_S),
        or_(RunRow.lease_token.is_(None), RunRow.lease_expires_s <= now_s),
    )
    if not may_start:
        query = query.where(or_(RunRow.state != RunState.SUBMITTED, RunRow.cohort.is_(None)))
    order = (RunRow.due_s, RunRow.created_s, RunRow.id)
    return (await session.scalars(query.order_by(*order).limit(1).with_for_update(skip_locked=True))).one_or_none()


async def active_runs(session: AsyncSession) -> Sequence[RunRow]:
    """Runs that may have an attempt under way."""
    return (await session.scalars(select(RunRow).where(RunRow.state.in_(ACTIVE)))).all()


async def forget_leases(session: AsyncSession) -> None:
    """Let go of every lease: for a coordinator that has just started, and knows that it is the only one."""
    await session.execute(update(RunRow).values(lease_token=None))


async def ask_until(session: AsyncSession, until_s: float) -> None:
    """Let sites answer at least until then: for a coordinator that has just started, and was away until now."""
    asking = (RunRow.state == RunState.RECRUITING) & (RunRow.recruits_until_s < until_s)
    await session.execute(update(RunRow).where(asking).values(recruits_until_s=until_s))
