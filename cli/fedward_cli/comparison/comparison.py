"""Sets arms side by side: figures by site, their mean, differences with intervals, and what guessing would reach.

An arm is a spec; every arm runs with the same seeds on the same sites, so that differences are paired by seed. Figures
are those that the sites told. Where all sites are simulated and kept their predictions, differences are paired by
patient too, and every figure is known over all images together.
"""

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import Literal

from fedward_cli.comparison.row import Collapse, Difference, Effort, Figure, Row
from fedward_cli.simulation.averages import mean_over_sites, pooled
from fedward_cli.simulation.results import Results
from fedward_cli.simulation.site_prior import SITE_PRIOR, site_prior
from fedward_core.cards import DatasetCard, Split, agreed_contract
from fedward_core.config import Frozen
from fedward_core.metric import COLLAPSED, Metric, Metrics


class Comparison(Frozen):
    """All arms, in the order in which they were given, and after them the row of the site prior.

    Attributes:
        metric: What was compared.
        seeds: The seeds of every arm.
        rows: The arms.
        resampled: What the intervals resample: seeds alone where the sites' predictions are not at hand.
        remarks: What else must be known to read the table, such as how the arms were tuned.
    """

    metric: str
    seeds: tuple[int, ...]
    rows: tuple[Row, ...]
    resampled: Literal["seeds", "patients within seeds"] = "seeds"
    remarks: tuple[str, ...] = ()

    @property
    def sites(self) -> tuple[str, ...]:
        """All sites, in alphabetical order."""
        return tuple(sorted({site for row in self.rows for site in row.sites}))


def compare_arms(
    arms: Mapping[str, Sequence[Results]],
    cards: Sequence[DatasetCard],
    *,
    metric: str,
    seeds: Sequence[int],
    split: Split = Split.TEST,
) -> Comparison:
    """Make a comparison.

    Args:
        arms: The results of each arm, one for each seed.
        cards: The sites' dataset cards, for the row of the site prior.
        metric: ``accuracy``, ``balanced_accuracy`` or ``auroc``.
        seeds: The seeds, in the order of the results.
        split: The split that was evaluated.
    """
    from fedward_cli.comparison.patient_pairs import paired_by_patient  # numpy is slow to import
    from fedward_cli.simulation.predictions import same_images

    rows = [_row_of_arm(arm, runs, metric, seeds) for arm, runs in arms.items()]
    prior, silent = _row(SITE_PRIOR, [site_prior(cards, split)], metric), tuple(_silent(arms, seeds))
    if not silent and same_images([run.predictions for runs in arms.values() for run in runs]):
        predictions = [[run.predictions for run in runs] for runs in arms.values()]
        compared = paired_by_patient(rows, predictions, agreed_contract(tuple(cards)), metric)
        return Comparison(
            metric=metric,
            seeds=tuple(seeds),
            rows=(*compared, prior),
            resampled="patients within seeds",
            remarks=tuple(_without_interval(compared)),
        )
    compared = [rows[0], *(_paired_by_seed(row, rows[0]) for row in rows[1:])]
    return Comparison(metric=metric, seeds=tuple(seeds), rows=(*compared, prior), remarks=silent)


def _without_interval(rows: Sequence[Row]) -> Iterator[str]:
    if names := [row.arm for row in rows if row.mean.value is not None and row.mean.low is None]:
        yield (
            f"No interval for {', '.join(names)}: classes have so few patients that more than a tenth of the draws "
            "leave one out at some site."
        )


def _silent(arms: Mapping[str, Sequence[Results]], seeds: Sequence[int]) -> Iterator[str]:
    """Which figures are missing, for a mean over fewer sites is not that of all."""
    everyone = {site for runs in arms.values() for run in runs for site in run.final}
    for arm, runs in arms.items():
        for seed, run in zip(seeds, runs, strict=True):
            if missing := sorted(everyone - run.final.keys()):
                yield (
                    f"Warning: '{arm}' with seed {seed} has no figure of its last round at {', '.join(missing)}: its "
                    "mean and its difference are over fewer sites."
                )


def _row_of_arm(arm: str, runs: Sequence[Results], metric: str, seeds: Sequence[int]) -> Row:
    row = _row(arm, [run.final for run in runs], metric)
    effort = {"bytes_sent": _bytes(runs), "effort": _effort(runs), "collapses": tuple(_collapses(runs, seeds))}
    return row.model_copy(update=effort)


def _row(arm: str, runs: Sequence[Mapping[str, Metrics]], metric: str) -> Row:
    sites = sorted({site for run in runs for site in run})
    figures = {site: _site_figure([run[site] for run in runs if site in run], metric) for site in sites}
    by_seed = tuple(mean_over_sites(run, metric).value for run in runs)
    defined = {site: figure for site, figure in figures.items() if figure.value is not None and not figure.recall}
    n = sum(figure.n for figure in defined.values())
    values = [figure.value or 0.0 for figure in defined.values()]
    return Row(
        arm=arm,
        sites=figures,
        mean=Figure(value=_mean(by_seed), n=n),
        by_seed=by_seed,
        pooled=_over_seeds([pooled(run, metric) for run in runs]),
        worst=min(defined, key=lambda site: defined[site].value or 0.0) if defined else None,
        gap=max(values) - min(values) if values else None,
    )


def _paired_by_seed(row: Row, first: Row) -> Row:
    differences = row.minus(first)
    if not differences:
        return row
    from fedward_cli.comparison.bootstrap import paired_interval  # numpy is slow to import

    low, high = paired_interval(differences)
    return row.model_copy(update={"difference": Difference(value=fmean(differences), low=low, high=high)})


def _site_figure(runs: Sequence[Metrics], metric: str) -> Figure:
    """The figure of one site over seeds; where it needs two classes and the site has one, the recall of that class."""
    values = [run[metric].value for run in runs if metric in run]
    if _mean(values) is not None:
        return Figure(value=_mean(values), n=runs[-1][metric].n)
    # With one class, accuracy is the recall of that class.
    accuracies = [run["accuracy"].value for run in runs if "accuracy" in run]
    n = runs[-1]["accuracy"].n if accuracies else 0
    return Figure(value=_mean(accuracies), n=n, recall=True)


def _over_seeds(metrics: Sequence[Metric]) -> Figure:
    return Figure(value=_mean([metric.value for metric in metrics]), n=max(metric.n for metric in metrics))


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def _bytes(runs: Sequence[Results]) -> int:
    return round(fmean(sum(run.bytes_sent.values()) for run in runs))


def _effort(runs: Sequence[Results]) -> Effort:
    steps = [run.steps_made.values() for run in runs if run.steps_made]
    sent = [fmean(run.bytes_sent.values()) for run in runs if run.bytes_sent]
    return Effort(
        rounds=max(run.num_rounds for run in runs),
        least_steps=round(fmean(min(each) for each in steps)) if steps else 0,
        most_steps=round(fmean(max(each) for each in steps)) if steps else 0,
        bytes_of_site=round(fmean(sent)) if sent else 0,
    )


def _collapses(runs: Sequence[Results], seeds: Sequence[int]) -> Iterator[Collapse]:
    for seed, run in zip(seeds, runs, strict=True):
        for site, metrics in run.final.items():
            share = metrics.get(COLLAPSED)
            if share is not None and share.value is not None:
                yield Collapse(site=site, seed=seed, share=share.value, n=share.n)
