"""What is asked and checked before anything is trained: enough sites, each with data that fit the study."""

import json

from fedward_core.atomic import replacing
from fedward_core.cards import CARDS, DatasetCard, Split, Task
from fedward_core.engine import Job
from fedward_core.errors import DataError, QuorumError, SpecError
from fedward_core.events import EventKind
from fedward_core.order import Order, Work
from fedward_core.spec import Cohort
from fedward_server.rounds.exchange import Answer, Errand, Exchange
from fedward_server.rounds.recorder import Recorder

_LABELS = {
    Task.CLASSIFICATION: "labels",
    Task.MULTI_LABEL: "labels",
    Task.SEGMENTATION: "masks (a column 'mask' of its table, or an array 'masks')",
}


class Preflight:
    """Asks every site of a job for its dataset card.

    Args:
        job: What will be run.
        exchange: Delivery.
        recorder: Told of files that sites skip.
        attempt: Counts the restarts of the run.
    """

    def __init__(self, job: Job, exchange: Exchange, recorder: Recorder, attempt: int) -> None:
        self._job = job
        self._exchange = exchange
        self._recorder = recorder
        self._attempt = attempt

    def cards(self) -> tuple[DatasetCard, ...]:
        """Ask every site for its card, before anything is trained.

        Raises:
            QuorumError: The spec demands more sites than there are.
            DataError: A site has no usable data.
            CheckpointError: The disk is full or not writable.
            SpecError: The spec draws as many sites for a round as there are, holds one out that is not there, or folds
                updates by a rule that needs those of more sites.
        """
        self._check_cohort(self._job.spec.cohort)
        sites = self._job.sites
        order = Order(run=self._job.run, attempt=self._attempt, work=Work.DESCRIBE)
        self._exchange.send({site: Errand(order=order) for site in sites})
        answers = {a.site: a for a in self._exchange.receive(self._job.spec.cohort.round_deadline_s)}
        cards = tuple(self._card(site, answers.get(site)) for site in sites)
        for card in cards:
            self._check(card)
        text = json.dumps([card.model_dump(mode="json") for card in cards], indent=2)
        with replacing(self._job.out / CARDS) as temporary:
            temporary.write_text(text + "\n", encoding="utf-8")
        return cards

    def _check_cohort(self, cohort: Cohort) -> None:
        if absent := sorted(set(cohort.hold_out) - set(self._job.sites)):
            raise SpecError(f"cohort.hold_out names {', '.join(absent)}, which take no part: correct the names")
        sites = cohort.training(self._job.sites)
        if len(sites) < cohort.min_sites:
            raise QuorumError(
                f"the cohort has {len(sites)} sites ({', '.join(sites)}), cohort.min_sites is {cohort.min_sites}: "
                "add sites, or set cohort.min_sites lower where the data are simulated"
            )
        if fault := self._job.spec.folding_fault(len(sites)):
            raise SpecError(fault)
        drawn = cohort.sites_per_round
        if drawn is not None and drawn >= len(sites):
            raise SpecError(
                f"cohort.sites_per_round is {drawn}, but only {len(sites)} sites take part: leave it out, or draw fewer"
            )

    def _check(self, card: DatasetCard) -> None:
        """Refuse before training what would fail in it, and tell of files that a site skips."""
        labels_needed = any(stage.method.needs_labels for stage in self._job.spec.stages)
        if card.num_images and not card.num_images.get(Split.TRAIN):
            raise DataError(
                f"site '{card.site}' has no training images: leave it out with cohort.sites, or split its data"
            )
        if labels_needed and not card.class_counts:
            raise DataError(
                f"site '{card.site}' has no {_LABELS[card.contract.task]}, and a stage of the spec trains with them"
            )
        split = self._job.spec.evaluate.split
        if labels_needed and not card.num_images.get(split):
            reason = f"it has no image in the split '{split}', and so will have no figures"
            self._recorder.tell(EventKind.WARNING, site=card.site, reason=reason)
        if card.num_skipped:
            reason = f"{card.num_skipped} of its files cannot be used; there, 'fedward data inspect' names them"
            self._recorder.tell(EventKind.WARNING, site=card.site, reason=reason)

    def _card(self, site: str, answer: Answer | None) -> DatasetCard:
        reply = answer.reply if answer else None
        if reply is None or reply.card is None:
            reason = answer.fault if answer and answer.fault else "its data cannot be used; its own log says why"
            raise DataError(f"site '{site}' gave no card of dataset '{self._job.spec.dataset.name}': {reason}")
        if reply.card.site != site:
            raise DataError(f"site '{site}' gave a card of another site: expected its own")
        return reply.card
