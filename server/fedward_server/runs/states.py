"""The states of a run, and the one function that moves it.

    SUBMITTED --> RECRUITING --> STARTING --> RUNNING --> COMPLETED
     ^  `----------------------->  |  ^          |  `---> FAILED
     |       simulated sites       |  `----------|    attempt died: a new one takes the run up
     |                             `-------------+--> STOPPING --> CANCELLED
    PAUSED <-------------------------------------`--> PAUSING

A run that has no attempt under way is paused or cancelled at once, and so may be one that is paused. Any may fail, and
one that is being stopped or paused may still end in its own way. A run that is resumed waits for its turn again: one
that was paused, or one that failed, when what it failed of is mended.
"""

import time
from enum import StrEnum
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from fedward_server.errors import ConflictError
from fedward_server.runs.rows import EventRow, RunRow


class RunState(StrEnum):
    """Where a run stands."""

    SUBMITTED = "submitted"
    RECRUITING = "recruiting"
    STARTING = "starting"
    RUNNING = "running"
    PAUSING = "pausing"
    PAUSED = "paused"
    STOPPING = "stopping"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_end(self) -> bool:
        """Whether nothing follows by itself."""
        return self in ENDS


TRANSITIONS: dict[RunState, frozenset[RunState]] = {
    RunState.SUBMITTED: frozenset(
        {RunState.RECRUITING, RunState.STARTING, RunState.PAUSED, RunState.CANCELLED, RunState.FAILED}
    ),
    RunState.RECRUITING: frozenset({RunState.STARTING, RunState.PAUSED, RunState.CANCELLED, RunState.FAILED}),
    RunState.STARTING: frozenset({RunState.RUNNING, RunState.PAUSING, RunState.STOPPING, RunState.FAILED}),
    RunState.RUNNING: frozenset(
        {RunState.STARTING, RunState.PAUSING, RunState.STOPPING, RunState.COMPLETED, RunState.FAILED}
    ),
    RunState.PAUSING: frozenset({RunState.PAUSED, RunState.STOPPING, RunState.COMPLETED, RunState.FAILED}),
    RunState.PAUSED: frozenset({RunState.SUBMITTED, RunState.CANCELLED, RunState.FAILED}),
    RunState.STOPPING: frozenset({RunState.CANCELLED, RunState.COMPLETED, RunState.FAILED}),
    RunState.COMPLETED: frozenset(),
    RunState.FAILED: frozenset({RunState.SUBMITTED}),
    RunState.CANCELLED: frozenset(),
}
WAITING = (RunState.SUBMITTED, RunState.RECRUITING, RunState.PAUSED)  # there is no attempt
ACTIVE = (RunState.STARTING, RunState.RUNNING, RunState.PAUSING, RunState.STOPPING)  # there may be an attempt
WORKING = (RunState.STARTING, RunState.RUNNING)  # and its sites are wanted
ENDS = (RunState.COMPLETED, RunState.FAILED, RunState.CANCELLED)
# Events of the coordinator's own, beside those that a run tells.
RUN_MOVED = "run_moved"
SITE_ANSWERED = "site_answered"
SITE_LEFT_OUT = "site_left_out"


def move_run(session: AsyncSession, run: RunRow, to: RunState, reason: str = "") -> None:
    """Move a run to another state and write the event with it, in the transaction of the session.

    Raises:
        ConflictError: The run cannot go there from where it stands.
    """
    if to not in TRANSITIONS[RunState(run.state)]:
        raise ConflictError(f"run '{run.id}' is {run.state} and cannot become {to}")
    now = time.time()
    facts = {"from": run.state, "to": str(to), "reason": reason}
    run.state, run.reason, run.moved_s, run.due_s = to, reason, now, now
    add_event(session, run, {"kind": RUN_MOVED, "time_s": now, "facts": facts})


def add_event(session: AsyncSession, run: RunRow, event: dict[str, Any]) -> None:
    """Write the next event of a run, which the transaction of the session holds."""
    run.num_events += 1
    session.add(EventRow(run=run.id, sequence=run.num_events, event=event))
