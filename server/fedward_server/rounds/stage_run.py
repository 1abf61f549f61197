"""The rounds of one stage: run, checkpoint, evaluate, and again."""

import time
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from fedward_core.aggregation.base import Aggregator
from fedward_core.arrays import Array
from fedward_core.errors import UpdateError
from fedward_core.events import EventKind
from fedward_core.metric import Metric
from fedward_core.order import PUBLIC, Work
from fedward_core.seeds import generator
from fedward_core.spec import Evaluate
from fedward_server.rounds.alarms import alarms
from fedward_server.rounds.best import BestModel
from fedward_server.rounds.exchange import Answer
from fedward_server.rounds.inbox import Inbox
from fedward_server.rounds.public_ensemble import PublicEnsemble
from fedward_server.rounds.round import Round
from fedward_server.rounds.stage_context import StageContext
from fedward_server.rounds.stage_state import StageFolder, StageState


class StageRun:
    """Carries a stage from its newest checkpoint to its end; the first checkpoint is its beginning.

    Args:
        context: What stays the same over the rounds.
        folder: The stage's files.
        evaluate: When the sites evaluate.
        seed: The seed of the run.
    """

    def __init__(self, context: StageContext, folder: StageFolder, evaluate: Evaluate, *, seed: int) -> None:
        self._context = context
        self._folder = folder
        self._evaluate = evaluate
        self._best = BestModel(folder, context.plan, evaluate.best)
        self._seed = seed

    def begin(self, weights: dict[str, Array]) -> None:
        """Write the state before round 0, unless the stage has begun. The weights are then read from there.

        Raises:
            CheckpointError: The disk is full or not writable.
        """
        if not self._folder.has_begun:
            self._folder.save(StageState(round=0, weights=weights), self._context.stage.aggregate.build())

    def run(self) -> None:
        """Run the rounds that are left, and write the stage's result.

        Raises:
            QuorumError: A round lacked sites.
            CheckpointError: A checkpoint cannot be written or read.
        """
        aggregator: Aggregator = self._context.stage.aggregate.build()
        state = self._folder.load(aggregator)
        self._catch_up(state)
        while state.round < self._context.stage.rounds:
            state = self._round(state, aggregator)
        self._folder.finish(state, self._context.plan)

    def _round(self, state: StageState, aggregator: Aggregator) -> StageState:
        started = time.monotonic()
        inbox = Inbox(self._folder.folder, state.round, state.digest)
        self._tell(EventKind.ROUND_STARTED, state.round)
        round_ = Round(replace(self._context, sites=self._drawn(state.round)), state, aggregator, inbox)
        following = round_.run()
        following = replace(following, report=_report(round_, time.monotonic() - started))
        self._folder.save(following, aggregator)
        inbox.clear()
        self._tell_report(following, seconds=time.monotonic() - started)
        self._evaluate_if_due(following)
        return following

    @property
    def _training(self) -> tuple[str, ...]:
        """The sites that are not held out."""
        return self._context.cohort.training(self._context.sites)

    def _drawn(self, round_: int) -> tuple[str, ...]:
        """The sites that train in a round: drawn by seed, stage and round alone, so that a resumed run draws alike."""
        sites, count = self._training, self._context.cohort.sites_per_round
        if count is None:
            return sites
        drawn = generator(self._seed, "cohort", self._context.index, round_).choice(len(sites), count, replace=False)
        return tuple(sites[place] for place in sorted(drawn))

    def _catch_up(self, state: StageState) -> None:
        """A run that was killed right after a checkpoint tells of its round now, and makes up for the evaluation."""
        if state.round == 0:
            return
        told_by = partial(self._context.recorder.told_by, stage=self._context.stage.name, round_=state.round - 1)
        if not told_by(EventKind.ROUND_FINISHED):
            self._tell_report(state)
        # All figures may be on record, and what is made of them together may not be on disk.
        unsure = self._evaluate.best is not None or self._evaluate.public is not None
        if unsure or not told_by(EventKind.EVALUATED) >= frozenset(self._context.sites):
            self._evaluate_if_due(state)

    def _tell_report(self, state: StageState, **facts: Any) -> None:
        self._tell(EventKind.ROUND_FINISHED, state.round - 1, **{**state.report, **facts, "digest": state.digest})

    def _evaluate_if_due(self, state: StageState) -> None:
        if state.round % self._evaluate.every and not self._is_over(state):
            return
        self._context.exchange.send(self._context.errands(Work.EVALUATE, self._context.sites, state))
        answers, told = list[Answer](), dict[str, Mapping[str, Metric]]()
        for answer in self._context.exchange.receive(self._context.cohort.round_deadline_s):
            told[answer.site] = self._tell_evaluation(answer, state.round - 1)
            answers.append(answer)
        # A site that is held out is only told of: what it chose would no longer be new to it.
        fault = self._best.consider(state, [told[site] for site in self._training if site in told])
        if fault is not None:
            self._tell(EventKind.WARNING, state.round - 1, reason=fault)
        if self._evaluate.public is not None and self._is_over(state) and self._context.stage.method.needs_labels:
            self._evaluate_on_public(state, [answer for answer in answers if answer.site in state.bases])

    def _is_over(self, state: StageState) -> bool:
        return state.round == self._context.stage.rounds

    def _evaluate_on_public(self, state: StageState, answers: list[Answer]) -> None:
        """Put the predictions of all personal models together; too few of them tell too much of each."""
        ensemble = PublicEnsemble(self._context.plan.contract.task)
        for answer in answers:
            try:
                ensemble.add(answer.site, answer.groups.get(PUBLIC, {}))
            except UpdateError as error:
                self._tell(EventKind.WARNING, state.round - 1, answer.site, reason=f"left out of the ensemble: {error}")
        if len(ensemble.sites) < self._context.cohort.min_sites:
            reason = (
                f"no ensemble: {len(ensemble.sites)} sites predicted, min_sites is {self._context.cohort.min_sites}"
            )
            self._tell(EventKind.WARNING, state.round - 1, reason=reason)
            return
        ensemble.write(self._folder.folder)
        metrics = {name: metric.model_dump() for name, metric in ensemble.metrics().items()}
        self._tell(EventKind.PUBLIC_EVALUATED, state.round - 1, sites=sorted(ensemble.sites), metrics=metrics)

    def _tell_evaluation(self, answer: Answer, round_: int) -> Mapping[str, Metric]:
        """Tell a site's figures, and give them; none if it could not evaluate."""
        reply = answer.reply
        if reply is None or reply.failure is not None:
            reason = answer.fault or f"could not evaluate: {reply.failure if reply else ''}"
            self._tell(EventKind.WARNING, round_, answer.site, reason=reason)
            return {}
        metrics = {name: metric.model_dump() for name, metric in reply.evaluation.items()}
        self._tell(EventKind.EVALUATED, round_, answer.site, metrics=metrics)
        for reason in alarms(reply.evaluation):
            self._tell(EventKind.WARNING, round_, answer.site, reason=reason)
        return reply.evaluation

    def _tell(self, kind: EventKind, round_: int, site: str | None = None, **facts: object) -> None:
        self._context.recorder.tell(kind, stage=self._context.stage.name, round_=round_, site=site, **facts)


def _report(round_: Round, seconds: float) -> dict[str, Any]:
    """What is told of a finished round."""
    replies = round_.replies.values()
    examples = sum(reply.num_examples for reply in replies)
    return {
        "loss": sum(reply.num_examples * reply.metrics["loss"] for reply in replies) / examples,
        "sites": sorted(round_.replies),
        "bytes_sent": round_.bytes_sent,
        "bytes_received": round_.bytes_received,
        "seconds": seconds,
    }
