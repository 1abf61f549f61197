"""A training step: when it is taken, and what comes of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Clock:
    """Where training stands. Schedules read the round, so that every site is at the same point.

    Attributes:
        round: The round, counted from 0.
        rounds: Rounds of the stage.
        epoch: The local epoch within the round, counted from 0.
        epochs: Local epochs of a round.
        step: The step within the epoch, counted from 0.
        steps: Steps of an epoch at this site.
    """

    round: int = 0
    rounds: int = 1
    epoch: int = 0
    epochs: int = 1
    step: int = 0
    steps: int = 1

    @property
    def position(self) -> float:
        """Rounds that have passed, with their fraction: (r*E + e)*steps + j, over E*steps."""
        return self.round + (self.epoch + self.step / self.steps) / self.epochs


@dataclass(frozen=True, kw_only=True)
class StepOutput:
    """What a training step gives.

    Attributes:
        loss: Scalar; what ``fit`` goes backward from.
        figures: Scalars to report, e.g. parts of the loss; detached.
    """

    loss: Tensor
    figures: Mapping[str, Tensor] = field(default_factory=dict)
