"""Sets arms side by side: figures by site, their mean, differences with intervals, and what guessing would reach.

An arm is a spec; every arm runs with the same seeds on the same sites, so that differences are paired by seed. All that
is computed here comes from the sites' figures and counts; there is no image and no prediction.
"""

from collections.abc import Mapping, Sequence
from statistics import fmean

from fedward_cli.results import RECALL, Results
from fedward_core.cards import DatasetCard, Split
from fedward_core.config import Frozen
from fedward_core.errors import DataError
from fedward_core.metric import Metric, Metrics

SITE_PRIOR = "site prior only"


class Figure(Frozen):
    """One figure, averaged over seeds.

    Attributes:
        value: The figure; None where it is not defined.
        n: The test images it rests on.
        recall: Whether it is the recall of the one class that the site has, in place of a figure that needs two.
    """

    value: float | None
    n: int
    recall: bool = False

    def __str__(self) -> str:
        """E.g. ``0.812 n=225``."""
        if self.value is None:
            return "-"
        return f"{'recall ' if self.recall else ''}{self.value:.3f} n={self.n}"


class Difference(Frozen):
    """The mean difference to the first arm, paired by seed, with a 95 % bootstrap interval over seeds."""

    value: float
    low: float | None
    high: float | None

    def __str__(self) -> str:
        """E.g. ``+0.031 [+0.012, +0.049]``."""
        interval = f" [{self.low:+.3f}, {self.high:+.3f}]" if self.low is not None else ""
        return f"{self.value:+.3f}{interval}"


class Row(Frozen):
    """One arm.

    Attributes:
        arm: Its name.
        sites: Its figure at each site.
        mean: The plain mean over the sites where the figure is defined.
        by_seed: That mean for each seed.
        pooled: The figure over the test images of all sites together, where the sites' counts tell it.
        worst: The site with the lowest figure, among those where it is defined.
        difference: To the first arm; None for the first itself and for guessing.
        bytes_sent: By all sites over all rounds, averaged over seeds.
    """

    arm: str
    sites: dict[str, Figure]
    mean: Figure
    by_seed: tuple[float | None, ...]
    pooled: Figure
    worst: str | None
    difference: Difference | None = None
    bytes_sent: int = 0


class Comparison(Frozen):
    """All arms, in the order in which they were given, and after them the row of the site prior."""

    metric: str
    seeds: tuple[int, ...]
    rows: tuple[Row, ...]

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
    rows = [_row(arm, [run.final for run in runs], metric, _bytes(runs)) for arm, runs in arms.items()]
    paired = [rows[0], *(_with_difference(row, rows[0]) for row in rows[1:])]
    prior = _row(SITE_PRIOR, [site_prior(cards, split)], metric, 0)
    return Comparison(metric=metric, seeds=tuple(seeds), rows=(*paired, prior))


def site_prior(cards: Sequence[DatasetCard], split: Split = Split.TEST) -> dict[str, Metrics]:
    """What a site reaches on the images of a split by always naming the class that most of its training images have.

    It needs no image, only to know the site. An arm that does not beat it may have learned to tell sites apart.

    Raises:
        DataError: A site has no labels.
    """
    return {card.site: _guessed(card, split) for card in sorted(cards, key=lambda card: card.site)}


def pooled(sites: Mapping[str, Metrics], metric: str) -> Figure:
    """A figure over all test images together, put together from the sites' figures.

    Accuracy adds up over sites, and so does the recall of each class, whose mean is the balanced accuracy. AUROC does
    not: it would need every prediction.
    """
    if metric == "accuracy":
        return _weighted([metrics["accuracy"] for metrics in sites.values() if "accuracy" in metrics])
    if metric != "balanced_accuracy":
        return Figure(value=None, n=0)
    names = sorted({name for metrics in sites.values() for name in metrics if name.startswith(RECALL)})
    recalls = [_weighted([metrics[name] for metrics in sites.values() if name in metrics]) for name in names]
    values = [recall.value for recall in recalls if recall.value is not None]
    return Figure(value=fmean(values) if values else None, n=sum(recall.n for recall in recalls))


def _row(arm: str, runs: Sequence[Mapping[str, Metrics]], metric: str, bytes_sent: int) -> Row:
    sites = sorted({site for run in runs for site in run})
    figures = {site: _site_figure([run[site] for run in runs if site in run], metric) for site in sites}
    by_seed = tuple(_mean_over_sites(run, metric) for run in runs)
    defined = {site: figure for site, figure in figures.items() if figure.value is not None and not figure.recall}
    n = sum(figure.n for figure in defined.values())
    return Row(
        arm=arm,
        sites=figures,
        mean=Figure(value=_mean(by_seed), n=n),
        by_seed=by_seed,
        pooled=_over_seeds([pooled(run, metric) for run in runs]),
        worst=min(defined, key=lambda site: defined[site].value or 0.0) if defined else None,
        bytes_sent=bytes_sent,
    )


def _with_difference(row: Row, first: Row) -> Row:
    pairs = zip(row.by_seed, first.by_seed, strict=True)
    differences = [ours - theirs for ours, theirs in pairs if ours is not None and theirs is not None]
    if not differences:
        return row
    from fedward_cli.bootstrap import paired_interval  # noqa: PLC0415 - numpy is slow to import

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


def _mean_over_sites(run: Mapping[str, Metrics], metric: str) -> float | None:
    return _mean([metrics[metric].value for metrics in run.values() if metric in metrics])


def _over_seeds(figures: Sequence[Figure]) -> Figure:
    return Figure(value=_mean([figure.value for figure in figures]), n=max(figure.n for figure in figures))


def _weighted(metrics: Sequence[Metric]) -> Figure:
    known = [(metric.value, metric.n) for metric in metrics if metric.value is not None and metric.n]
    n = sum(count for _, count in known)
    return Figure(value=sum(value * count for value, count in known) / n if n else None, n=n)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def _bytes(runs: Sequence[Results]) -> int:
    return round(fmean(sum(run.bytes_sent.values()) for run in runs))


def _guessed(card: DatasetCard, split: Split) -> Metrics:
    if not card.class_counts:
        raise DataError(f"site '{card.site}' has no labels: arms are compared by how well they name classes")
    trained = card.class_counts[Split.TRAIN]
    guess = card.contract.classes[trained.index(max(trained))]
    counts = dict(zip(card.contract.classes, card.class_counts[split], strict=True))
    present = [name for name, count in counts.items() if count]
    n, right = sum(counts.values()), counts[guess]
    several = len(present) > 1
    recalls = {f"{RECALL}{name}": Metric(value=float(name == guess), n=counts[name]) for name in present}
    return {
        "accuracy": Metric(value=right / n if n else None, n=n),
        "balanced_accuracy": Metric(value=bool(right) / len(present) if several else None, n=n),
        # A constant guess ranks nothing: every pair is a tie.
        "auroc": Metric(value=0.5 if several else None, n=n),
        **recalls,
    }
