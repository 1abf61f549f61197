"""What stays the same over the rounds of a stage, and the orders that go out in one."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fedward_core.arrays import Arrays
from fedward_core.order import Base, Order, Work
from fedward_core.plan import StagePlan
from fedward_core.spec import Cohort, Stage
from fedward_server.rounds.exchange import Errand, Exchange
from fedward_server.rounds.recorder import Recorder
from fedward_server.rounds.stage_state import StageState


@dataclass(frozen=True, kw_only=True)
class StageContext:
    """What stays the same over the rounds of a stage.

    Attributes:
        run: The run's id.
        attempt: Counts the restarts of the run.
        index: The stage's place in the spec.
        stage: The stage.
        plan: What its model is made of.
        cohort: Quorum and deadline.
        sites: Who is asked, in alphabetical order.
        exchange: Delivery.
        recorder: Events.
    """

    run: str
    attempt: int
    index: int
    stage: Stage
    plan: StagePlan
    cohort: Cohort
    sites: Sequence[str]
    exchange: Exchange
    recorder: Recorder

    def errands(
        self, work: Work, sites: Iterable[str], state: StageState, *, joining: bool = False
    ) -> dict[str, Errand]:
        """The orders for sites, with the weights that each lacks.

        A site gets what travelled at its last counted round; one that joins gets everything. Sites that get the same
        share one set of arrays. A training order belongs to the state's round, an evaluation to the round before.
        """
        bases = {site: None if joining else state.bases.get(site) for site in sites}
        travelling = {base: self._travelling(base, state) for base in set(bases.values())}
        return {site: Errand(order=self._order(work, b, state), arrays=travelling[b]) for site, b in bases.items()}

    def _travelling(self, base: Base | None, state: StageState) -> Arrays:
        if base is None:
            return state.weights
        return self.plan.partition(self.stage.share_at(base.round)).split(state.weights)[0]

    def _order(self, work: Work, base: Base | None, state: StageState) -> Order:
        return Order(
            run=self.run,
            attempt=self.attempt,
            work=work,
            stage=self.index,
            round=state.round if work is Work.TRAIN else state.round - 1,
            parent=state.digest,
            base=base,
            plan=self.plan,
        )
