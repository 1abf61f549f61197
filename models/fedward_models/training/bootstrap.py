"""Figures with intervals: patients are drawn anew, with all their images, since images of one patient are alike.

A resample is a row of weights: how often each image counts. A figure is a function from rows of weights to values, so
that all resamples are computed at once, and the figure itself is the row of ones.

Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13 (percentile interval). Drawing whole
patients is decided here.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from fedward_core.arrays import Array
from fedward_core.metric import Metric

PERCENTILES = (2.5, 97.5)
MOST_UNDEFINED = 0.1  # decided here: of the draws; the others all hold every rare patient, and vary too little

Statistic: TypeAlias = Callable[[Array], Array]
"""From (R, N) weights of N images to R values; NaN where a weighting leaves the figure undefined."""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """Something to evaluate.

    Attributes:
        statistic: How it follows from weighted images.
        n: The images that it rests on.
    """

    statistic: Statistic
    n: int


def resample(patients: Sequence[str], *, resamples: int, seed: int) -> Array:
    """Draw as many patients as there are, with replacement, again and again.

    Args:
        patients: (N,), whose each image is.
        resamples: R.
        seed: The same seed draws the same patients.

    Returns:
        (R, N) weights. No rows where there is a single patient: nothing can vary then.
    """
    _, patient_of = np.unique(np.asarray(patients), return_inverse=True)
    count = int(patient_of.max()) + 1
    if count == 1:
        return np.empty((0, len(patients)))
    drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=resamples)
    return drawn[:, patient_of].astype(np.float64)


def measure(figure: Figure, weights: Array) -> Metric:
    """A figure with its 95 % interval.

    Args:
        figure: What to evaluate.
        weights: (R, N), from :func:`resample`; without rows there is no interval.
    """
    value = float(figure.statistic(np.ones((1, weights.shape[1])))[0])
    if not np.isfinite(value):
        return Metric(value=None, n=figure.n)
    low, high = percentile_interval(figure.statistic(weights))
    return Metric(value=value, n=figure.n, low=low, high=high)


def percentile_interval(values: Array) -> tuple[float, float] | tuple[None, None]:
    """The 95 % interval of a figure over draws of patients.

    Args:
        values: (R,), NaN where a draw leaves the figure undefined, for instance without any patient of a rare class.

    Returns:
        None and None where more than a tenth of the draws leave it undefined.
    """
    known = values[np.isfinite(values)]
    if not len(known) or len(known) < (1 - MOST_UNDEFINED) * len(values):
        return None, None
    low, high = np.percentile(known, PERCENTILES)
    return float(low), float(high)


def ratio(numerator: Array, denominator: Array) -> Array:
    """The quotient, NaN where there is nothing to divide by."""
    quotient: Array = np.divide(numerator, denominator, out=np.full(len(denominator), np.nan), where=denominator != 0)
    return quotient
