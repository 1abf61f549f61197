"""What is evaluated for each task, from what was noted of every image.

Letters: N images, K classes, R weightings of the images.
"""

from collections.abc import Sequence
from functools import partial

import numpy as np

from fedward_core.arrays import Array, Arrays
from fedward_core.cards import Contract, Task
from fedward_core.metric import COLLAPSED, RECALL
from fedward_models.training.auroc import auroc
from fedward_models.training.bootstrap import Figure, Statistic, ratio

COLLAPSE_SHARE = 0.95
"""Above this share of one class among the predictions, a site with several classes is warned (decided here: federated
fine-tuning that failed was seen to predict a single class, which accuracy alone hides)."""


def figures_of(rows: Arrays, contract: Contract) -> dict[str, Figure]:
    """All figures of a task.

    Args:
        rows: What :mod:`fedward_models.training.rows` noted, one row for each image.
        contract: The task and its classes.

    Returns:
        By name, ``loss`` first. Without predictions of classes there is nothing but the loss.
    """
    loss = {"loss": Figure(statistic=mean_over(rows["loss"]), n=len(rows["loss"]))}
    if len(rows) == 1:
        return loss
    of_task = {
        Task.CLASSIFICATION: _classification,
        Task.MULTI_LABEL: _multi_label,
        Task.SEGMENTATION: _segmentation,
    }[contract.task]
    return loss | of_task(rows, contract.classes)


def mean_over(values: Array, among: Array | None = None) -> Statistic:
    """The weighted mean of one value an image.

    Args:
        values: (N,).
        among: (N,) booleans, the images that count; all by default.
    """
    counted = np.ones(len(values)) if among is None else among.astype(np.float64)
    total = np.where(counted > 0, values, 0.0)

    def statistic(weights: Array) -> Array:
        # einsum and not a matrix product, whose last bits may depend on the number of threads.
        return ratio(np.einsum("rn,n->r", weights, total), np.einsum("rn,n->r", weights, counted))

    return statistic


def _classification(rows: Arrays, classes: Sequence[str]) -> dict[str, Figure]:
    probabilities, labels = rows["probabilities"], rows["labels"]
    n, predicted = len(labels), probabilities.argmax(axis=1)
    correct = predicted == labels
    counts = np.bincount(labels, minlength=len(classes))
    present = np.flatnonzero(counts)
    recalls = [mean_over(correct, labels == number) for number in range(len(classes))]
    shares = [mean_over(predicted == number) for number in range(len(classes))]
    figures = {
        "accuracy": Figure(statistic=mean_over(correct), n=n),
        "balanced_accuracy": Figure(statistic=_average([recalls[k] for k in present], at_least=2), n=n),
        "auroc": Figure(statistic=_one_versus_rest(probabilities, labels, present), n=n),
    }
    figures |= {f"{RECALL}{c}": Figure(statistic=recalls[k], n=int(counts[k])) for k, c in enumerate(classes)}
    figures |= {f"predicted/{c}": Figure(statistic=shares[k], n=n) for k, c in enumerate(classes)}
    return figures | _collapse(predicted, len(present))


def _one_versus_rest(probabilities: Array, labels: Array, present: Array) -> Statistic:
    """Macro average over the classes that are present (Fawcett, 2006); with two classes in all, that of the second."""
    numbers = present if probabilities.shape[1] > 2 else present[-1:]
    return _average([partial(auroc, scores=probabilities[:, k], positive=labels == k) for k in numbers])


def _collapse(predicted: Array, num_present: int) -> dict[str, Figure]:
    largest = np.bincount(predicted).argmax()
    chosen = predicted == largest
    if num_present < 2 or chosen.mean() <= COLLAPSE_SHARE:
        return {}
    return {COLLAPSED: Figure(statistic=mean_over(chosen), n=len(predicted))}


def _multi_label(rows: Arrays, classes: Sequence[str]) -> dict[str, Figure]:
    probabilities, labels = rows["probabilities"], rows["labels"] > 0
    n = len(labels)
    correct = ((probabilities > 0.5) == labels).mean(axis=1)
    areas = [partial(auroc, scores=probabilities[:, k], positive=labels[:, k]) for k in range(len(classes))]
    divided = [k for k in range(len(classes)) if labels[:, k].any() and not labels[:, k].all()]
    return {
        "accuracy": Figure(statistic=mean_over(correct), n=n),
        "auroc": Figure(statistic=_average([areas[k] for k in divided]), n=n),
        **{f"auroc/{c}": Figure(statistic=areas[k], n=n) for k, c in enumerate(classes)},
    }


def _segmentation(rows: Arrays, classes: Sequence[str]) -> dict[str, Figure]:
    dice = rows["dice"]
    defined = ~np.isnan(dice)
    means = [mean_over(dice[:, k], defined[:, k]) for k in range(len(classes))]
    foreground = [k for k in range(len(classes)) if (k > 0 or len(classes) == 1) and defined[:, k].any()]
    return {
        "dice": Figure(statistic=_average([means[k] for k in foreground]), n=len(dice)),
        **{f"dice/{c}": Figure(statistic=means[k], n=int(defined[:, k].sum())) for k, c in enumerate(classes)},
    }


def _average(statistics: Sequence[Statistic], *, at_least: int = 1) -> Statistic:
    """The plain mean of several; undefined where one of them is, or where there are fewer than ``at_least``."""
    if len(statistics) < at_least:
        return lambda weights: np.full(len(weights), np.nan)
    return lambda weights: np.mean([statistic(weights) for statistic in statistics], axis=0)
