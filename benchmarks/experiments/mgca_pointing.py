"""Do words find their places? On generated films the report says on which side a finding lies.

A finding's word is asked for the place that it attends to most; right if that is in the half of the film where its
sentence says that the finding is. Guessing is right half of the time. The patient's right is on the left of the film.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from fedward_models.batch import Batch
from fedward_models.methods.mgca.alignment import Pairs
from fedward_models.methods.mgca.mgca import MGCA
from fedward_models.towers.reports import clean_report

FINDINGS = frozenset({"opacity", "consolidation", "effusion", "blunting", "fluid", "nodule"})
_HALVES = {"right": 0, "left": 1}  # of the film


def words_with_sides(report: str) -> Iterator[tuple[int, int]]:
    """Where the cleaned report names a finding, and the half of the film, 0 or 1, that its sentence says."""
    start = 0
    for sentence in report.split("."):
        words = clean_report(sentence)
        halves = {_HALVES[word] for word in words if word in _HALVES}
        if len(halves) == 1:
            (half,) = halves
            yield from ((start + place, half) for place, word in enumerate(words) if word in FINDINGS)
        start += len(words)


def aligned_pairs(
    method: MGCA, images: Tensor, reports: tuple[str, ...], *, batch_size: int = 64
) -> Iterator[tuple[Pairs, tuple[str, ...]]]:
    """What a method makes of pairs, so many at once, with their reports.

    Args:
        method: In evaluation mode.
        images: (N, C, H, W), standardised.
        reports: N texts.
        batch_size: Pairs at once.
    """
    for start in range(0, len(images), batch_size):
        texts = reports[start : start + batch_size]
        yield method.pairs(method.read(Batch(images=images[start : start + batch_size], reports=texts))), texts


@torch.no_grad()
def pointing(method: MGCA, images: Tensor, reports: tuple[str, ...]) -> float:
    """How often words of findings point to the half that their sentence says.

    Args:
        method: In evaluation mode, with a vision transformer.
        images: (N, C, H, W), standardised.
        reports: N texts.
    """
    right: list[bool] = []
    for pairs, texts in aligned_pairs(method, images, reports):
        places = (pairs.words @ pairs.places.transpose(1, 2)).argmax(dim=2)
        side = round(pairs.places.shape[1] ** 0.5)
        half = (places % side) * 2 // side
        for row, text in enumerate(texts):
            right += [int(half[row, word]) == said for word, said in words_with_sides(text) if word < half.shape[1]]
    return float(np.mean(right))
