"""Telling which report belongs to which image: instance-wise alignment.

Paper: F. Wang, Y. Zhou, S. Wang, V. Vardhanabhuti, L. Yu, "Multi-Granularity Cross-modal Alignment for Generalized
Medical Visual Representation Learning" (MGCA), NeurIPS 2022, arXiv:2210.06044, Sec. 3.2.

Letters: B batch, D features.
"""

import torch
from torch import Tensor
from torch.nn import functional


def pair_contrast(images: Tensor, reports: Tensor, *, temperature: float) -> Tensor:
    """The log-losses of an image's report among all reports and of a report's image among all images, summed.

    As in: HKU-MedAI/MGCA, commit 680fe4a, which sums the two directions; the paper is reported to average them.

    Args:
        images: (B, D), of length 1.
        reports: (B, D), of length 1; row i belongs to image i.
        temperature: Divides similarities; 0.07 in MGCA.

    Returns:
        (B,), each in [0, 2 (log B + 2 / temperature)].
    """
    similarity = images @ reports.T / temperature
    own = torch.arange(len(images), device=images.device)
    by_image = functional.cross_entropy(similarity, own, reduction="none")
    by_report = functional.cross_entropy(similarity.T, own, reduction="none")
    return by_image + by_report


@torch.no_grad()
def retrieval(images: Tensor, reports: Tensor, *, among: int = 1) -> Tensor:
    """How often the partner is among the most similar, over both directions.

    Ties are broken by lot: of T that are as similar as the partner, itself included, each has the same chance. So equal
    reports share what is found, and embeddings that have all collapsed into one find no more than guessing does.

    Args:
        images: (B, D), of length 1.
        reports: (B, D), of length 1; row i belongs to image i.
        among: How many of the most similar count.

    Returns:
        (B,), in [0, 1].
    """
    similarity = images @ reports.T
    found = [_ranks_high(table, among) for table in (similarity, similarity.T)]
    return (found[0] + found[1]) / 2


def _ranks_high(similarity: Tensor, among: int) -> Tensor:
    own = similarity.diagonal()[:, None]
    before, tied = (similarity > own).sum(dim=1), (similarity == own).sum(dim=1)
    return ((among - before) / tied).clamp(0, 1)
