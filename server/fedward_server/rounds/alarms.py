"""What training and evaluation should warn of: figures that look well and hide a model of no use."""

from collections.abc import Iterator, Mapping

from fedward_core.metric import COLLAPSED, CUT_REPORTS, Metrics
from fedward_core.robustness import FGSM_ACCURACY, PGD_ACCURACY, overfits_catastrophically

_MANY_CUT = 1 / 3  # of a site's reports; decided here


def alarms(evaluation: Metrics) -> Iterator[str]:
    """Sentences about one site's evaluation; none where all is well."""
    share = evaluation.get(COLLAPSED)  # SSL-FL replications that failed predicted one class, and nobody saw it
    if share is not None and share.value is not None:
        yield f"one class takes {share.value:.0%} of the predictions on {share.n} images"
    one, several = (
        metric.value if (metric := evaluation.get(name)) else None for name in (FGSM_ACCURACY, PGD_ACCURACY)
    )
    yield from _overfitting(one, several)


def training_alarms(figures: Mapping[str, float], *, first: bool) -> Iterator[str]:
    """Sentences about one site's round of training, before it is evaluated anywhere; none where all is well.

    Args:
        figures: What the site tells of the round.
        first: Whether it is the stage's first round; what is the same in every round is told once.
    """
    yield from _overfitting(figures.get(FGSM_ACCURACY), figures.get(PGD_ACCURACY))
    if first and (cut := figures.get(CUT_REPORTS, 0.0)) > _MANY_CUT:
        yield f"{cut:.0%} of the reports lost their end: raise text.max_tokens, or name a vocabulary that fits them"


def _overfitting(one: float | None, several: float | None) -> Iterator[str]:
    if one is None or several is None:
        return
    if overfits_catastrophically(fgsm_accuracy=one, pgd_accuracy=several):
        yield (
            f"catastrophic overfitting: accuracy is {one:.0%} under an attack of one step and {several:.0%} under "
            "several. Turn on hidden pixels, a first-layer penalty, a stride or smooth activations, or lower epsilon"
        )
