"""Which class of a frozen classifier stands for each class of the study.

Differs: the released code hands on the whole result of a mode, takes equal class counts for granted, reads images that
were augmented and not standardised, and may give one class of the classifier to two of the study. Its earlier version
assigns one to one, as here.

Letters: K classes of the study, S classes of the classifier.
"""

from collections.abc import Iterable

import torch
from torch import Tensor

from fedward_core.errors import SpecError


def count_answers(answers: Iterable[tuple[Tensor, Tensor]], *, classes: int, source_classes: int) -> Tensor:
    """How often the classifier names each of its classes for images of each class.

    Counts of several sites add up; they are what a site would have to tell for a common mapping.

    Args:
        answers: Batches of (B, S) logits with (B,) labels.
        classes: K.
        source_classes: S.

    Returns:
        (K, S), integers.
    """
    counts = torch.zeros(classes, source_classes, dtype=torch.long)
    for logits, labels in answers:
        places = (labels.cpu(), logits.argmax(dim=1).cpu())
        counts.index_put_(places, torch.ones(len(labels), dtype=torch.long), accumulate=True)
    return counts


def match_classes(counts: Tensor) -> tuple[int, ...]:
    """The most frequent answer for each class, one to one: a class takes the first that none before it has taken.

    Args:
        counts: (K, S) from :func:`count_answers`; of equal counts the lower number is first.

    Raises:
        SpecError: The classifier has fewer classes than the study.
    """
    classes, source_classes = counts.shape
    if classes > source_classes:
        raise SpecError(
            f"{classes} classes cannot be told apart by a classifier of {source_classes}: choose a network with more"
        )
    taken: list[int] = []
    for row in counts:
        order = torch.sort(row, descending=True, stable=True).indices.tolist()
        taken.append(next(answer for answer in order if answer not in taken))
    return tuple(taken)
