"""A figure of all sites: the plain mean over them, and the one over all their images together."""

from collections.abc import Mapping, Sequence
from statistics import fmean

from fedward_core.metric import RECALL, WITHOUT_PROMPT, Metric, Metrics
from fedward_core.robustness import AUTO_ATTACK_ACCURACY, PGD_ACCURACY


def mean_over_sites(sites: Mapping[str, Metrics], name: str) -> Metric:
    """The plain mean over the sites where a figure is defined, with the images of these sites as its n."""
    told = [metrics[name] for metrics in sites.values() if name in metrics]
    known = [(metric.value, metric.n) for metric in told if metric.value is not None]
    return Metric(value=fmean(value for value, _ in known) if known else None, n=sum(n for _, n in known))


def pooled(sites: Mapping[str, Metrics], name: str) -> Metric:
    """A figure over the images of all sites together, put together from the sites' figures.

    Accuracy adds up over sites, under attack and without a prompt too, and so does the recall of each class, whose mean
    is the balanced accuracy. AUROC does not: it would need every prediction, and so is not defined.
    """
    if name in ("accuracy", WITHOUT_PROMPT, PGD_ACCURACY, AUTO_ATTACK_ACCURACY):
        return _weighted([metrics[name] for metrics in sites.values() if name in metrics])
    if name != "balanced_accuracy":
        return Metric(value=None, n=0)
    classes = sorted({key for metrics in sites.values() for key in metrics if key.startswith(RECALL)})
    recalls = [_weighted([metrics[key] for metrics in sites.values() if key in metrics]) for key in classes]
    values = [recall.value for recall in recalls if recall.value is not None]
    return Metric(value=fmean(values) if values else None, n=sum(recall.n for recall in recalls))


def _weighted(metrics: Sequence[Metric]) -> Metric:
    known = [(metric.value, metric.n) for metric in metrics if metric.value is not None and metric.n]
    n = sum(count for _, count in known)
    return Metric(value=sum(value * count for value, count in known) / n if n else None, n=n)
