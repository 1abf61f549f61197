"""What guessing would reach: always the class that most of a site's training images have.

It needs no image, only to know the site. A model that does not beat it may have learned to tell sites apart.
"""

from collections.abc import Sequence

from fedward_core.cards import DatasetCard, Split
from fedward_core.errors import DataError
from fedward_core.metric import RECALL, Metric, Metrics

SITE_PRIOR = "site prior only"


def site_prior(cards: Sequence[DatasetCard], split: Split = Split.TEST) -> dict[str, Metrics]:
    """What each site reaches on the images of a split by guessing.

    Raises:
        DataError: A site has no labels.
    """
    return {card.site: _guessed(card, split) for card in sorted(cards, key=lambda card: card.site)}


def _guessed(card: DatasetCard, split: Split) -> Metrics:
    if not card.class_counts:
        raise DataError(f"site '{card.site}' has no labels: how well classes are named cannot be told there")
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
