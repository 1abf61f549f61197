"""The states of a run, and the one function that moves it.

    SUBMITTED --> STARTING --> RUNNING --> COMPLETED
                   ^    |       |    `---> FAILED
                   |    |       |
                   |    `-------+--> STOPPING --> CANCELLED
                   `------------'
                attempt died: a new one takes the run up

A submitted run may be cancelled at once, any may fail, and one that is being stopped may still end in its own way.
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
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_end(self) -> bool:
        """Whether nothing follows."""
        return not TRANSITIONS[self]


TRANSITIONS: dict[RunState, frozenset[RunState]] = {
    RunState.SUBMITTED: frozenset({RunState.STARTING, RunState.CANCELLED, RunState.FAILED}),
    RunState.STARTING: frozenset({RunState.RUNNING, RunState.STOPPING, RunState.FAILED}),
    RunState.RUNNING: frozenset({RunState.STARTING, RunState.STOPPING, RunState.COMPLETED, RunState.FAILED}),
    RunState.STOPPING: frozenset({RunState.CANCELLED, RunState.COMPLETED, RunState.FAILED}),
    RunState.COMPLETED: frozenset(),
    RunState.FAILED: frozenset(),
    RunState.CANCELLED: frozenset(),
}
ACTIVE = (RunState.STARTING, RunState.RUNNING, RunState.STOPPING)
ENDS = tuple(state for state, following in TRANSITIONS.items() if not following)
RUN_MOVED = "run_moved"


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
