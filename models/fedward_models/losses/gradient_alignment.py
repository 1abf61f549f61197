"""GradAlign: how far the gradients by the pixels at two points of the ball point in different directions.

Paper: M. Andriushchenko, N. Flammarion, "Understanding and Improving Fast Adversarial Training", NeurIPS 2020,
https://arxiv.org/abs/2007.02617, Eq. 5.
"""

import math

from torch import Tensor
from torch.nn import functional


def gradient_alignment_loss(one: Tensor, other: Tensor) -> Tensor:
    """One minus the mean cosine between the gradients of each image: 0 for a locally linear loss, at most 2.

    As in the published code, gradients of any length count alike, and an image where one of them is zero does not
    count. Where none counts, the loss is 0.

    Args:
        one: (B, C, H, W).
        other: (B, C, H, W).
    """
    one, other = one.flatten(1), other.flatten(1)
    known = (one != 0).any(dim=1) & (other != 0).any(dim=1)
    if not bool(known.any()):
        return 0 * other.sum()
    first, second = (_direction(gradients[known]) for gradients in (one, other))
    return 1 - (first * second).sum(dim=1).mean()


def alignment_strength(epsilon: float) -> float:
    """The published weight of the loss for a radius in units of pixels in [0, 1]: 0.2 at 8/255, 2 at 16/255."""
    return math.exp(255 * epsilon * math.log(10) / 8 + math.log(0.02))


def _direction(gradients: Tensor) -> Tensor:
    """(B, P) to length 1, by way of a size at which squares of the smallest gradients are not lost."""
    return functional.normalize(gradients / gradients.detach().abs().amax(dim=1, keepdim=True), dim=1)
