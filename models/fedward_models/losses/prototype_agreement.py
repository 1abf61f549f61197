"""An image and its report must choose the same prototypes: disease-level alignment.

Papers: F. Wang, Y. Zhou, S. Wang, V. Vardhanabhuti, L. Yu, "Multi-Granularity Cross-modal Alignment for Generalized
Medical Visual Representation Learning" (MGCA), NeurIPS 2022, arXiv:2210.06044, Sec. 3.4; assignments as in M. Caron et
al., "Unsupervised Learning of Visual Features by Contrasting Cluster Assignments" (SwAV), NeurIPS 2020.

Letters: B batch, K prototypes.
"""

import torch
from torch import Tensor

from fedward_core.errors import SpecError


def prototype_agreement(images: Tensor, reports: Tensor, *, temperature: float, epsilon: float, rounds: int) -> Tensor:
    """Each side predicts the balanced assignments of the other; the mean of both log-losses.

    Args:
        images: (B, K), similarities with prototypes, in [-1, 1].
        reports: (B, K), the same of the reports.
        temperature: Divides similarities; 0.2 in MGCA.
        epsilon: How soft assignments are; 0.05 in MGCA.
        rounds: Of balancing; 3 in MGCA.

    Returns:
        (B,).
    """
    of_images, of_reports = (
        assignments(scores, epsilon=epsilon, rounds=rounds) for scores in (images.detach(), reports.detach())
    )
    by_report = -(of_images * (reports / temperature).log_softmax(dim=1)).sum(dim=1)
    by_image = -(of_reports * (images / temperature).log_softmax(dim=1)).sum(dim=1)
    return (by_report + by_image) / 2


@torch.no_grad()
def assignments(scores: Tensor, *, epsilon: float, rounds: int) -> Tensor:
    """Soft assignments that use all prototypes alike, by Sinkhorn and Knopp.

    In logarithms, so that the exponentials of scores over epsilon, up to 5e8, are never formed.

    Args:
        scores: (B, K).
        epsilon: How soft; more is softer.
        rounds: How often prototypes and samples are balanced in turn.

    Returns:
        (B, K); rows sum to 1.

    Raises:
        SpecError: Scores of 16 bits, whose range and digits are too few.
    """
    if scores.dtype in {torch.float16, torch.bfloat16}:
        raise SpecError("balanced assignments need 32 bits, found 16: give scores as floats")
    logs = scores / epsilon
    for _ in range(rounds):
        logs = logs - logs.logsumexp(dim=0, keepdim=True)
        logs = logs - logs.logsumexp(dim=1, keepdim=True)
    return logs.softmax(dim=1)
