"""How far a model's confidence is from how often it is right.

Source: C. Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, https://arxiv.org/abs/1706.04599: Sec. 2,
equations 2 and 3, and 15 bins of equal width as in its experiments. With few images the error is too high on average.

Letters: N images, K classes.
"""

from dataclasses import dataclass

import numpy as np

from fedward_core.arrays import Array
from fedward_core.cards import Task
from fedward_core.errors import SpecError
from fedward_core.metric import Metric

NUM_BINS = 15


@dataclass(frozen=True, kw_only=True)
class Reliability:
    """Decisions in bins of confidence.

    Attributes:
        counts: (bins,), decisions in each.
        confidence: (bins,), their mean confidence; NaN in an empty bin.
        accuracy: (bins,), the part of them that is right; NaN in an empty bin.
    """

    counts: Array
    confidence: Array
    accuracy: Array

    @property
    def error(self) -> Metric:
        """The expected calibration error: the mean distance of confidence and accuracy over decisions, with their n."""
        n = int(self.counts.sum())
        filled = self.counts > 0
        gaps = np.abs(self.accuracy[filled] - self.confidence[filled])
        return Metric(value=float(np.average(gaps, weights=self.counts[filled])) if n else None, n=n)


def reliability(probabilities: Array, labels: Array, task: Task, *, num_bins: int = NUM_BINS) -> Reliability:
    """Sort decisions into bins of confidence, the upper edge belonging to the bin.

    Args:
        probabilities: (N, K), in [0, 1].
        labels: (N,) class numbers; (N, K) zeros and ones for multi-label, where every class of every image is a
            decision.
        task: What the labels mean.
        num_bins: Bins of equal width from 0 to 1.

    Raises:
        SpecError: The task decides on pixels.
    """
    confidence, correct = _decisions(probabilities, labels, task)
    bins = np.clip(np.ceil(confidence * num_bins).astype(int) - 1, 0, num_bins - 1)
    counts = np.bincount(bins, minlength=num_bins)
    with np.errstate(invalid="ignore"):
        means = [np.bincount(bins, weights=values, minlength=num_bins) / counts for values in (confidence, correct)]
    return Reliability(counts=counts, confidence=means[0], accuracy=means[1])


def _decisions(probabilities: Array, labels: Array, task: Task) -> tuple[Array, Array]:
    """The confidence of each decision, and whether it is right."""
    if task is Task.CLASSIFICATION:
        return probabilities.max(axis=1), (probabilities.argmax(axis=1) == labels).astype(float)
    if task is Task.MULTI_LABEL:
        said, confidence = probabilities > 0.5, np.maximum(probabilities, 1 - probabilities)
        return confidence.ravel(), (said == (labels > 0)).ravel().astype(float)
    raise SpecError("calibration is for classes of whole images: choose a model of another task")
