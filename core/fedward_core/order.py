"""What the server asks of a site, and the facts that come back beside the arrays.

    order (JSON) + weights  -->  site  -->  reply (JSON) + groups of arrays

The spec itself reaches a site with the run, not with each order.
"""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from fedward_core.cards import Contract, DatasetCard
from fedward_core.config import Frozen
from fedward_core.metric import MOST, Metric
from fedward_core.plan import StagePlan

PUBLIC = "public"  # the group of an evaluation's reply that holds predictions on the spec's public dataset

# A figure's name becomes a cell of a table, and a line of a log: no formula begins it, and no line ends in it.
FIGURE = r"^\w[^\x00-\x1f\x7f-\x9f\u2028\u2029]{0,299}$"
MOST_FIGURES = 10_000
FigureName = Annotated[str, Field(pattern=FIGURE)]


class Work(StrEnum):
    """What a site is asked to do."""

    DESCRIBE = "describe"  # send the dataset card
    PLAN = "plan"  # build a stage's model, and send its plan and first weights
    TRAIN = "train"
    EVALUATE = "evaluate"


class Base(Frozen):
    """The private entry on which an order builds: the site's last counted contribution."""

    round: int
    parent: str


class Order(Frozen):
    """One piece of work for one site.

    Attributes:
        run: The run's id, stable over attempts.
        attempt: Counts the restarts of a run; a site refuses a lower one than it has seen.
        work: What to do.
        stage: The index of the stage in the spec.
        round: The round, counted from 0. An evaluation belongs to the round that ended before it.
        parent: The digest of the global weights that come with the order.
        base: The private entry to start from. None at a site that joins: then the weights are complete.
        plan: What the stage's model is made of; None for DESCRIBE and PLAN.
        contract: What the sites agree on, for PLAN. The weights that come with it are those of the stage before, where
            this one starts from them.
    """

    run: str
    attempt: int = Field(default=1, ge=1)
    work: Work
    stage: int = Field(default=0, ge=0)
    round: int = Field(default=0, ge=0)
    parent: str = ""
    base: Base | None = None
    plan: StagePlan | None = None
    contract: Contract | None = None

    @property
    def joins_late(self) -> bool:
        """Whether the site enters a stage that others have begun, with no private entry to start from."""
        return self.base is None and self.round > 0


class Failure(StrEnum):
    """Why a site could not do its work; what leaves the site in place of an exception's text."""

    DATA = "data"  # its data cannot be used
    SPEC = "spec"  # the spec's parts do not fit each other, or the site's machine
    UPDATE = "update"  # the weights that came do not fit
    DIVERGED = "diverged"  # the loss is no longer finite
    PRIVATE_STATE = "private_state"  # the private entry that the order builds on is missing
    UNTRAINED = "untrained"  # what it should evaluate was never trained there
    DISK = "disk"  # private state, or a file of the stage, could not be read or written
    MEMORY = "memory"  # out of memory
    INTERNAL = "internal"  # anything else: the site's own log tells


class Reply(Frozen):
    """The facts of an answer; arrays travel beside it.

    Attributes:
        site: Who answers.
        work: What was done.
        round: For which round.
        parent: The digest of the global weights that came with the order.
        failure: Why it was not done; all that follows is then empty.
        num_examples: Images trained on.
        num_steps: Optimiser steps made.
        metrics: Training figures.
        evaluation: Evaluated figures with their n.
        card: The dataset card, for DESCRIBE.
        plan: What the stage's model is made of, for PLAN; the first weights are the group ``weights``.
    """

    site: str
    work: Work
    round: int = 0
    parent: str = ""
    failure: Failure | None = None
    num_examples: int = Field(default=0, le=MOST)
    num_steps: int = Field(default=0, le=MOST)
    metrics: dict[FigureName, float] = Field(default_factory=dict, max_length=MOST_FIGURES)
    evaluation: dict[FigureName, Metric] = Field(default_factory=dict, max_length=MOST_FIGURES)
    card: DatasetCard | None = None
    plan: StagePlan | None = None
