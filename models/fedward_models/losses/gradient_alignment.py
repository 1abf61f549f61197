"""GradAlign: how far the gradients by the pixels at two points of the ball point in different directions.

Paper: M. Andriushchenko, N. Flammarion, "Understanding and Improving Fast Adversarial Training", NeurIPS 2020,
https://arxiv.org/abs/2007.02617, Eq. 5.
"""

import math

from torch import Tensor
from torch.nn import functional


def gradient_alignment_loss(one: Tensor, other: Tensor) -> Tensor:
    """One minus the mean cosine between the gradients of each image: 0 for a locally linear loss, at most 2.

    Args:
        one: (B, C, H, W).
        other: (B, C, H, W).
    """
    return 1 - functional.cosine_similarity(one.flatten(1), other.flatten(1), dim=1, eps=1e-10).mean()


def alignment_strength(epsilon: float) -> float:
    """The published weight of the loss for a radius in units of pixels in [0, 1]: 0.2 at 8/255, 2 at 16/255."""
    return math.exp(255 * epsilon * math.log(10) / 8 + math.log(0.02))
