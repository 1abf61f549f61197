"""Intervals of differences that are paired by seed."""

from collections.abc import Sequence

import numpy as np

from fedward_core.seeds import generator

_RESAMPLES = 10_000


def paired_interval(differences: Sequence[float]) -> tuple[float | None, float | None]:
    """The 95 % percentile bootstrap interval of a mean; what is resampled is seeds. One seed has none."""
    if len(differences) < 2:
        return None, None
    values = np.asarray(differences)
    drawn = generator(0, "compare", "bootstrap").integers(len(values), size=(_RESAMPLES, len(values)))
    low, high = np.quantile(values[drawn].mean(axis=1), (0.025, 0.975))
    return float(low), float(high)
