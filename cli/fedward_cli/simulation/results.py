"""What a run has to show, read from its events: figures of every evaluation, losses, and bytes."""

import csv
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from fedward_cli.simulation.event_file import read_events
from fedward_core.events import Event, EventKind
from fedward_core.metric import Metric, Metrics

if TYPE_CHECKING:
    from fedward_cli.simulation.predictions import Predictions  # numpy is slow to import

METRICS_TABLE = "metrics.csv"
METRICS = "metrics.json"


@dataclass(frozen=True, kw_only=True)
class Moment:
    """Where in a run something was measured: the stage, the round counted from 0, and the site."""

    stage: str
    round: int
    site: str


@dataclass(frozen=True, kw_only=True)
class Results:
    """The figures of one run.

    Attributes:
        evaluations: What was evaluated, in order. Of a round that was repeated after an interruption, the last counts.
        losses: The mean training loss of each site in each round.
        sent: The bytes that each site sent in each round.
        steps: The optimiser steps that each site made in each round.
        reused: Stages that were taken from an earlier run, which has their losses, steps and bytes.
        predictions: What each site predicted for every image of the newest evaluation. Empty unless all sites are
            simulated: a hospital keeps its predictions to itself.
    """

    evaluations: Mapping[Moment, Metrics] = field(default_factory=dict)
    losses: Mapping[Moment, float] = field(default_factory=dict)
    sent: Mapping[Moment, int] = field(default_factory=dict)
    steps: Mapping[Moment, int] = field(default_factory=dict)
    reused: frozenset[str] = frozenset()
    predictions: "Predictions" = field(default_factory=dict)

    @cached_property
    def final(self) -> dict[str, Metrics]:
        """The newest evaluation of every site, in alphabetical order."""
        newest = {moment.site: metrics for moment, metrics in self.evaluations.items()}
        return {site: newest[site] for site in sorted(newest)}

    @property
    def bytes_sent(self) -> dict[str, int]:
        """All bytes that each site sent."""
        return _by_site(self.sent)

    @property
    def steps_made(self) -> dict[str, int]:
        """All optimiser steps that each site made."""
        return _by_site(self.steps)

    @property
    def num_rounds(self) -> int:
        """The rounds of all stages in which anybody trained."""
        return len({(moment.stage, moment.round) for moment in self.losses})


def read_results(out: Path) -> Results:
    """Read what a run has told so far.

    Raises:
        CheckpointError: There are no events, or a line that is none.
    """
    return gather(read_events(out))


def gather(events: Iterable[Event]) -> Results:
    """The results that the events of a run, in order, amount to."""
    evaluations: dict[Moment, Metrics] = {}
    losses: dict[Moment, float] = {}
    sent: dict[Moment, int] = {}
    steps: dict[Moment, int] = {}
    reused: set[str] = set()
    for event in events:
        if event.kind is EventKind.STAGE_REUSED and event.stage is not None:
            reused.add(event.stage)
        if event.stage is None or event.round is None or event.site is None:
            continue
        moment = Moment(stage=event.stage, round=event.round, site=event.site)
        if event.kind is EventKind.EVALUATED:
            evaluations.pop(moment, None)
            evaluations[moment] = {name: Metric.model_validate(one) for name, one in event.facts["metrics"].items()}
        elif event.kind is EventKind.SITE_TRAINED:
            sent[moment] = event.facts["bytes"]
            steps[moment] = event.facts["num_steps"]
            losses[moment] = event.facts["loss"]
    return Results(evaluations=evaluations, losses=losses, sent=sent, steps=steps, reused=frozenset(reused))


def write_metrics(out: Path, results: Results) -> None:
    """Write ``metrics.csv``, a line for each figure of each evaluation, and ``metrics.json``, the final figures."""
    with (out / METRICS_TABLE).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("stage", "round", "site", "metric", "value", "n", "low", "high"))
        for moment, metrics in results.evaluations.items():
            for name, metric in metrics.items():
                place = (moment.stage, moment.round + 1, moment.site)
                writer.writerow((*place, name, metric.value, metric.n, metric.low, metric.high))
    (out / METRICS).write_text(json.dumps(as_json(results), indent=2) + "\n", encoding="utf-8")


def _by_site(counts: Mapping[Moment, int]) -> dict[str, int]:
    totals: dict[str, int] = {}
    for moment, count in counts.items():
        totals[moment.site] = totals.get(moment.site, 0) + count
    return dict(sorted(totals.items()))  # and not in the order in which sites happened to answer


def as_json(results: Results) -> dict[str, object]:
    """The final figures as plain values."""
    return {
        "sites": plain(results.final),
        "bytes_sent": results.bytes_sent,
    }


def plain(sites: Mapping[str, Metrics]) -> dict[str, dict[str, object]]:
    """The figures of each site as plain values."""
    return {site: {name: metric.model_dump() for name, metric in metrics.items()} for site, metrics in sites.items()}
