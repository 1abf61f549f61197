"""One round: orders out, updates in and folded, the next state."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from fedward_core.aggregation.base import Aggregator
from fedward_core.arrays import Array, Arrays, num_bytes
from fedward_core.errors import QuorumError, UpdateError
from fedward_core.events import EventKind
from fedward_core.filters.base import Filter
from fedward_core.order import Base, Failure, Reply, Work
from fedward_core.partition import Partition
from fedward_core.update import SHARED, Update, check_update
from fedward_server.rounds.alarms import training_alarms
from fedward_server.rounds.exchange import Answer, Errand
from fedward_server.rounds.fold import OrderedFold
from fedward_server.rounds.inbox import Inbox
from fedward_server.rounds.stage_context import StageContext
from fedward_server.rounds.stage_state import StageState


@dataclass
class Round:
    """A round in progress.

    Attributes:
        context: The stage.
        state: The state before the round.
        aggregator: Folds the updates.
        inbox: Where updates wait.
        replies: What the sites that contributed so far have told, by site.
        bytes_sent: Bytes of all weights that went out in the round.
        bytes_received: Bytes of all updates that counted.
    """

    context: StageContext
    state: StageState
    aggregator: Aggregator
    inbox: Inbox
    replies: dict[str, Reply] = field(default_factory=dict)
    bytes_sent: int = 0
    bytes_received: int = 0

    def run(self) -> StageState:
        """Carry the round out.

        Returns:
            The state before the next round; its weights are arrays of their own.

        Raises:
            QuorumError: Fewer sites than the spec demands contributed before the deadline.
        """
        self.aggregator.begin(self._partition.shared_manifest)
        self._fold = OrderedFold(
            self.context.sites, self.aggregator.add, lambda site: self._update(self.inbox.read(site))
        )
        self._pending = set(self.context.sites)
        self._rejoined: set[str] = set()
        for site in self.inbox.sites():
            self._take(self.inbox.read(site), arrived_before=True)
        self._send(self.context.errands(Work.TRAIN, sorted(self._pending), self.state))
        for answer in self.context.exchange.receive(self.context.cohort.round_deadline_s):
            self._take(answer)
            del answer  # or its arrays would be held while the next answer is decoded
        for site in sorted(self._pending):
            self._drop(site, f"no answer within {self.context.cohort.round_deadline_s:g} s")
        del self._fold  # it refers back to this round, whose weights would stay in memory until cycles are collected
        self._check_quorum()
        return self._next_state()

    @property
    def _partition(self) -> Partition:
        return self.context.plan.partition(self.context.stage.share_at(self.state.round))

    @property
    def _reference(self) -> Arrays:
        return self._partition.split(self.state.weights)[0]

    def _send(self, errands: Mapping[str, Errand]) -> None:
        self.bytes_sent += sum(num_bytes(errand.arrays) for errand in errands.values())
        self.context.exchange.send(errands)

    def _take(self, answer: Answer, *, arrived_before: bool = False) -> None:
        """Count an answer, or leave its site out with the reason."""
        if answer.site not in self._pending:
            self._tell(EventKind.WARNING, answer.site, reason="answered twice: the second answer is not used")
            return
        if answer.reply and answer.reply.failure is Failure.PRIVATE_STATE and answer.site not in self._rejoined:
            self._let_join(answer.site)
            return
        try:
            update = self._update(answer)
        except UpdateError as error:
            self._drop(answer.site, str(error))
            return
        self._pending.discard(answer.site)
        if not arrived_before:
            self.inbox.keep(answer)
        self._count(answer, update)
        self._fold.arrive(update)

    def _let_join(self, site: str) -> None:
        self._rejoined.add(site)
        self._tell(EventKind.WARNING, site, reason="its private state is missing: it joins the stage anew")
        self._send(self.context.errands(Work.TRAIN, [site], self.state, joining=True))

    def _update(self, answer: Answer) -> Update:
        """The decoded and checked update of an answer."""
        reply = answer.reply
        if reply is None:
            raise UpdateError(answer.fault)
        if reply.failure is not None:
            raise UpdateError(f"the site could not train: {_FAILURES[reply.failure]}")
        if "loss" not in reply.metrics:
            raise UpdateError(f"the update tells no loss: found {', '.join(sorted(reply.metrics)) or 'no figures'}")
        update = Update(
            site=answer.site,
            round=reply.round,
            parent=reply.parent,
            num_examples=reply.num_examples,
            num_steps=reply.num_steps,
            groups=answer.groups,
            metrics=reply.metrics,
        )
        expected = self._partition.shared_manifest
        for filter_ in reversed(self._filters):
            update = filter_.decode(update, self._reference, expected)
        check_update(update, expected, round_=self.state.round, parent=self.state.digest)
        if strange := sorted(update.groups.keys() - {SHARED}):
            raise UpdateError(f"the update has a group '{strange[0][:50]}', which neither filters nor aggregation read")
        return update

    @property
    def _filters(self) -> tuple[Filter, ...]:
        return tuple(config.build() for config in self.context.stage.filters)

    def _count(self, answer: Answer, update: Update) -> None:
        assert answer.reply is not None
        received = sum(num_bytes(arrays) for arrays in answer.groups.values())
        self.bytes_received += received
        self.replies[answer.site] = answer.reply
        counts = {"num_examples": update.num_examples, "num_steps": update.num_steps, "bytes": received}
        self.context.recorder.record(
            EventKind.SITE_TRAINED,
            {**update.metrics, **counts},
            stage=self.context.stage.name,
            round_=self.state.round,
            site=answer.site,
        )
        for reason in training_alarms(update.metrics, first=self.state.round == 0):
            self._tell(EventKind.WARNING, answer.site, reason=reason)

    def _drop(self, site: str, reason: str) -> None:
        self._pending.discard(site)
        self._fold.give_up(site)
        self._tell(EventKind.SITE_DROPPED, site, reason=reason)

    def _check_quorum(self) -> None:
        contributed, needed = len(self.replies), self.context.cohort.min_sites
        if contributed < needed:
            raise QuorumError(
                f"round {self.state.round + 1} of stage '{self.context.stage.name}': {contributed} of "
                f"{len(self.context.sites)} sites contributed, cohort.min_sites is {needed}. The events name what "
                "failed elsewhere; mend it and run again: with the same spec the run goes on from this round"
            )

    def _next_state(self) -> StageState:
        current, last_averages = self._partition.split(self.state.weights)
        averaged = current if self._sends_nothing else self._finish(current)
        counted = Base(round=self.state.round, parent=self.state.digest)
        return StageState(
            round=self.state.round + 1,
            weights=self._partition.merge(averaged, last_averages),
            bases={**self.state.bases, **dict.fromkeys(self.replies, counted)},
        )

    @property
    def _sends_nothing(self) -> bool:
        return not self._partition.shared_manifest.entries

    def _finish(self, current: Arrays) -> dict[str, Array]:
        averaged = self.aggregator.finish(current)
        weights = tuple(float(self.replies[site].num_examples) for site in sorted(self.replies))
        for filter_ in reversed(self._filters):
            averaged = filter_.finish(averaged, weights)
        return averaged

    def _tell(self, kind: EventKind, site: str, **facts: object) -> None:
        self.context.recorder.tell(kind, stage=self.context.stage.name, round_=self.state.round, site=site, **facts)


_FAILURES = {
    Failure.DATA: "its data cannot be used; its own log says why",
    Failure.SPEC: "the spec's parts do not fit each other, or its machine; its own log says why",
    Failure.UPDATE: "the weights that it received do not fit its model",
    Failure.DIVERGED: "training diverged, the loss is no longer finite; try a lower learning rate or clip_norm",
    Failure.PRIVATE_STATE: "its private state is missing even after joining anew",
    Failure.UNTRAINED: "what it should evaluate was never trained there",
    Failure.DISK: "its private state, or a file of the stage, could not be read or written; its own log says which",
    Failure.MEMORY: "it ran out of memory; try a smaller batch",
    Failure.INTERNAL: "an unexpected error; its own log says which",
}
