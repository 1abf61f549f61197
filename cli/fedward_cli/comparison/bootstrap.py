"""Intervals of means and of differences that are paired by seed, and by patient where predictions were kept.

The test patients are the same for all arms and seeds. So one resample draws seeds, and within them the patients of
every site, and scores all arms and all drawn seeds on the same drawn patients: luck in the choice of patients is not
taken for a difference between arms, and five seeds do not count as five times the patients.

Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13 (percentile interval). Drawing whole
patients, for all seeds alike, is decided here.
"""

from collections.abc import Sequence

import numpy as np

from fedward_cli.simulation.predictions import Predictions
from fedward_core.arrays import Array
from fedward_core.cards import Contract
from fedward_core.seeds import derive_seed, generator

_OF_SEEDS = 10_000
_OF_PATIENTS = 2_000
_ENDS = (0.025, 0.975)

Interval = tuple[float | None, float | None]


def paired_interval(differences: Sequence[float]) -> Interval:
    """The 95 % percentile bootstrap interval of a mean; what is resampled is seeds. One seed has none."""
    if len(differences) < 2:
        return None, None
    values = np.asarray(differences)
    drawn = generator(0, "compare", "bootstrap").integers(len(values), size=(_OF_SEEDS, len(values)))
    low, high = np.quantile(values[drawn].mean(axis=1), _ENDS)
    return float(low), float(high)


def resampled_means(runs: Sequence[Predictions], contract: Contract, metric: str) -> Array:
    """The mean over sites of a figure, for every seed on every draw of patients.

    Args:
        runs: The predictions of an arm, one entry for each seed.
        contract: The task and its classes.
        metric: The figure.

    Returns:
        (S, R), seeds by draws; the same draws for every arm with the same patients. NaN where a draw leaves the figure
        undefined at a site that has it on all its patients.
    """
    return np.stack([_mean_over_sites(run, contract, metric) for run in runs])


def nested_interval(values: Array) -> Interval:
    """The 95 % percentile interval of a mean over seeds, from seeds drawn anew and patients drawn anew within them.

    Args:
        values: (S, R), from :func:`resampled_means`, or the difference of two such; one seed is drawn every time.

    Returns:
        None and None where too many draws leave the figure undefined.
    """
    from fedward_models.training.bootstrap import percentile_interval  # few commands need the zoo

    num_seeds, draws = values.shape
    drawn = generator(0, "compare", "seeds").integers(num_seeds, size=(draws, num_seeds))
    return percentile_interval(values[drawn, np.arange(draws)[:, None]].mean(axis=1))


def _mean_over_sites(run: Predictions, contract: Contract, metric: str) -> Array:
    from fedward_models.training.bootstrap import resample  # few commands need the zoo
    from fedward_models.training.figures import figures_of

    columns = []
    for site in sorted(run):
        rows = run[site]
        statistic = figures_of(rows, contract)[metric].statistic
        if not np.isfinite(statistic(np.ones((1, len(rows["labels"]))))).all():
            continue  # with one class at a site, the figure is not defined there, and not part of any mean
        seed = derive_seed(0, "compare", "patients", site)
        weights = resample(rows["patients"].tolist(), resamples=_OF_PATIENTS, seed=seed)
        # A single patient cannot vary, and is there in every draw.
        columns.append(statistic(weights if len(weights) else np.ones((_OF_PATIENTS, len(rows["labels"])))))
    return np.mean(columns, axis=0) if columns else np.full(_OF_PATIENTS, np.nan)
