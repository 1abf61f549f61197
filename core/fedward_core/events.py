"""What happened in a run, told as it happens. Counts, names of sites and figures; nothing of a patient."""

from collections.abc import Callable
from enum import StrEnum
from typing import Any

from pydantic import Field

from fedward_core.config import Frozen


class EventKind(StrEnum):
    """What an event tells."""

    RUN_STARTED = "run_started"
    STAGE_STARTED = "stage_started"
    STAGE_REUSED = "stage_reused"  # taken from an earlier run with the same digest
    ROUND_STARTED = "round_started"
    SITE_TRAINED = "site_trained"
    SITE_DROPPED = "site_dropped"  # left out of this round, with the reason
    ROUND_FINISHED = "round_finished"
    EVALUATED = "evaluated"
    PUBLIC_EVALUATED = "public_evaluated"  # all personal models together, on the spec's public dataset
    WARNING = "warning"
    RUN_RESUMED = "run_resumed"
    RUN_FINISHED = "run_finished"
    RUN_FAILED = "run_failed"


class Event(Frozen):
    """One thing that happened.

    Attributes:
        kind: What happened.
        time_s: Seconds since the epoch.
        stage: The stage's name, where there is one.
        round: The round, counted from 0, where there is one.
        site: The site, where there is one.
        facts: Figures and sentences; JSON values.
    """

    kind: EventKind
    time_s: float
    stage: str | None = None
    round: int | None = None
    site: str | None = None
    facts: dict[str, Any] = Field(default_factory=dict)


Listener = Callable[[Event], None]
