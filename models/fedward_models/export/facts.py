"""What is known of a finished model, read from the files of its run: hospitals as counts, and never by name."""

import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from fedward_core.cards import DatasetCard, read_cards
from fedward_core.errors import CheckpointError
from fedward_core.metric import Metric, Metrics

SMALLEST_COUNT = 5  # decided here, as in comparisons of sites: smaller groups of people are not told


@dataclass(frozen=True, kw_only=True)
class RunFacts:
    """What a run has told.

    Attributes:
        cards: The datasets of the sites, in counts.
        evaluations: The figures of the stage's last evaluated round at each site that told some, those with the most
            images first; without names.
    """

    cards: tuple[DatasetCard, ...]
    evaluations: tuple[Metrics, ...]


def read_facts(run: Path, stage: str) -> RunFacts:
    """Read what a run has told of a stage.

    Raises:
        CheckpointError: A file of the run is missing or damaged.
    """
    cards, told = read_cards(run), defaultdict[int, dict[str, Metrics]](dict)
    try:
        lines = (run / "events.jsonl").read_bytes().split(b"\n")[:-1]  # a last line that was cut is none
        for event in map(json.loads, lines):
            if event["kind"] == "evaluated" and event["stage"] == stage:
                metrics = {name: Metric.model_validate(m) for name, m in event["facts"]["metrics"].items()}
                told[event["round"]][event["site"]] = metrics
    except FileNotFoundError as error:
        raise CheckpointError(f"'{run.name}' is no whole run: expected events.jsonl in it") from error
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"events.jsonl of '{run.name}' is damaged") from error
    last = told[max(told)].values() if told else ()
    return RunFacts(cards=cards, evaluations=tuple(sorted(last, key=_most_images, reverse=True)))


def _most_images(metrics: Metrics) -> int:
    return max((metric.n for metric in metrics.values()), default=0)
