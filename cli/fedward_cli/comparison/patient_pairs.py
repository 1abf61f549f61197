"""Arms compared patient by patient, from the predictions that simulated sites kept."""

from collections.abc import Sequence
from statistics import fmean

import numpy as np

from fedward_cli.comparison.bootstrap import nested_interval, resampled_means
from fedward_cli.comparison.row import Difference, Figure, Row
from fedward_cli.simulation.predictions import Predictions, joined
from fedward_core.arrays import Array
from fedward_core.cards import Contract


def paired_by_patient(
    rows: Sequence[Row], arms: Sequence[Sequence[Predictions]], contract: Contract, metric: str
) -> list[Row]:
    """Rows with an interval for each mean and each difference to the first, and with figures over all images together.

    Args:
        rows: A row for each arm.
        arms: The predictions of each arm, one entry for each seed, all of the same images.
        contract: The task and its classes.
        metric: The figure.
    """
    draws = [resampled_means(runs, contract, metric) for runs in arms]
    return [
        row.model_copy(
            update={
                "mean": _with_interval(row.mean, values),
                "pooled": _pooled(runs, contract, metric),
                "difference": _difference(row, rows[0], values - draws[0]) if index else None,
            }
        )
        for index, (row, runs, values) in enumerate(zip(rows, arms, draws, strict=True))
    ]


def _with_interval(mean: Figure, values: Array) -> Figure:
    low, high = nested_interval(values)
    return mean.model_copy(update={"low": low, "high": high})


def _difference(row: Row, first: Row, values: Array) -> Difference | None:
    differences = row.minus(first)
    low, high = nested_interval(values)
    return Difference(value=fmean(differences), low=low, high=high) if differences else None


def _pooled(runs: Sequence[Predictions], contract: Contract, metric: str) -> Figure:
    """The figure over the images of all sites, averaged over seeds."""
    from fedward_models.training.figures import figures_of  # few commands need the zoo

    figures = [figures_of(joined(run), contract)[metric] for run in runs]
    whole = np.ones((1, figures[0].n))
    known = [value for figure in figures if np.isfinite(value := float(figure.statistic(whole)[0]))]
    return Figure(value=fmean(known) if known else None, n=figures[0].n)
