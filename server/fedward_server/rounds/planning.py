"""What a stage begins with, its plan and its first weights, and the question that a planner answers."""

from collections.abc import Callable
from dataclasses import dataclass

from fedward_core.arrays import Array, Arrays
from fedward_core.cards import Contract
from fedward_core.engine import Job
from fedward_core.events import EventKind
from fedward_core.plan import StagePlan
from fedward_core.spec import Stage
from fedward_server.rounds.exchange import Exchange
from fedward_server.rounds.recorder import Recorder


@dataclass(frozen=True, kw_only=True)
class PlanRequest:
    """A stage that is about to begin.

    Attributes:
        job: The run.
        attempt: Counts its restarts.
        index: The stage's place in the spec.
        contract: What the sites agree on.
        previous: The whole state at the end of the stage before, where this one starts from it.
        exchange: Delivery.
        recorder: Told of sites that do not do their part.
    """

    job: Job
    attempt: int
    index: int
    contract: Contract
    previous: Arrays | None
    exchange: Exchange
    recorder: Recorder

    @property
    def stage(self) -> Stage:
        """The stage."""
        return self.job.spec.stages[self.index]

    def warn(self, reason: str, site: str | None = None) -> None:
        """Put a warning on record."""
        self.recorder.tell(EventKind.WARNING, stage=self.stage.name, site=site, reason=reason)


@dataclass(frozen=True, kw_only=True)
class Planned:
    """What a stage begins with.

    Attributes:
        plan: What its model is made of.
        weights: The weights of round 0.
        sites: The sites that built it; none where the engine did so itself.
    """

    plan: StagePlan
    weights: dict[str, Array]
    sites: tuple[str, ...] = ()


Planner = Callable[[PlanRequest], Planned]
