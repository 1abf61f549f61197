"""The area under the ROC curve, exact, for many weightings of the same images at once."""

import numpy as np

from fedward_core.arrays import Array
from fedward_models.training.bootstrap import ratio


def auroc(weights: Array, *, scores: Array, positive: Array) -> Array:
    """The chance that a positive image has the higher score, ties counting half (Hanley and McNeil, Radiology 1982).

    Letters: R weightings, N images.

    Args:
        weights: (R, N), how often each image counts.
        scores: (N,), the higher the more likely positive.
        positive: (N,), booleans.

    Returns:
        (R,), NaN where a weighting leaves no positive or no negative image.
    """
    order = np.argsort(scores, kind="stable")
    ranked, weighed, is_positive = scores[order], weights[:, order], positive[order]
    ties = np.flatnonzero(np.append(True, ranked[1:] != ranked[:-1]))
    positives = np.add.reduceat(weighed * is_positive, ties, axis=1)
    negatives = np.add.reduceat(weighed * ~is_positive, ties, axis=1)
    below = np.cumsum(negatives, axis=1) - negatives
    won = (positives * (below + negatives / 2)).sum(axis=1)
    return ratio(won, positives.sum(axis=1) * negatives.sum(axis=1))
