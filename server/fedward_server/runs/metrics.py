"""What a run has measured, gathered from its events."""

import csv
import io
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from fedward_core.events import EventKind
from fedward_server.runs import queries
from fedward_server.runs.models import Evaluation, RunMetrics, SiteLoss


async def read_metrics(session: AsyncSession, run: str) -> RunMetrics:
    """Losses and figures of a run so far.

    Raises:
        NotFoundError: There is no such run.
    """
    await queries.run_named(session, run)
    rows = await queries.events_of_kinds(session, run, (EventKind.SITE_TRAINED, EventKind.EVALUATED))
    losses: dict[tuple[str, int, str], SiteLoss] = {}
    evaluations: dict[tuple[str, int, str], Evaluation] = {}
    for event in (row.event for row in rows):
        place = _place(event)
        if event["kind"] == EventKind.EVALUATED:
            evaluations[place] = Evaluation(**_named(place), metrics=event["facts"]["metrics"])
        else:
            losses[place] = SiteLoss(**_named(place), loss=event["facts"]["loss"])
    return RunMetrics(losses=tuple(losses.values()), evaluations=tuple(evaluations.values()))


def as_csv(metrics: RunMetrics) -> str:
    """One line for each figure; a site's training loss stands among them as ``training_loss``, without an n.

    Rounds count from 1, as in the ``metrics.csv`` of a run's folder and in every table that people read.
    """
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(("stage", "round", "site", "metric", "value", "n", "low", "high"))
    for one in metrics.losses:
        lines.writerow((one.stage, one.round + 1, one.site, "training_loss", one.loss, None, None, None))
    for evaluation in metrics.evaluations:
        for name, figure in evaluation.metrics.items():
            place = (evaluation.stage, evaluation.round + 1, evaluation.site)
            lines.writerow((*place, name, figure.value, figure.n, figure.low, figure.high))
    return text.getvalue()


def _place(event: dict[str, Any]) -> tuple[str, int, str]:
    return event["stage"], event["round"], event["site"]


def _named(place: tuple[str, int, str]) -> dict[str, Any]:
    return dict(zip(("stage", "round", "site"), place, strict=True))
