"""Penalties on the first layer's weights: through them alone a perturbation enters a network.

Paper: Z. Li, L. Liu, Z. Wang, Y. Zhou, C. Xie, "Bag of Tricks for FGSM Adversarial Training", 2022, arXiv:2209.02684.

Letters: O output channels.
"""

from collections.abc import Callable
from enum import StrEnum

import torch
from torch import Tensor


class FirstLayerNorm(StrEnum):
    """What is penalised."""

    FROBENIUS = "frobenius"  # the sum of squares; under plain SGD the same as more weight decay for this layer
    L1 = "l1"  # the sum of absolute values
    SPECTRAL = "spectral"  # the largest singular value, squared
    GAIN = "gain"  # the largest sum of absolute values of a filter: what a pixel's change can add to a feature


def first_layer_penalty(weight: Tensor, norm: FirstLayerNorm) -> Tensor:
    """A scalar that grows with the weights.

    Args:
        weight: (O, ...), of the first convolution or linear layer.
        norm: Which.
    """
    return _NORMS[norm](weight.flatten(1))


def _spectral(filters: Tensor) -> Tensor:
    largest: Tensor = torch.linalg.matrix_norm(filters, 2)
    return largest.square()


_NORMS: dict[FirstLayerNorm, Callable[[Tensor], Tensor]] = {
    FirstLayerNorm.FROBENIUS: lambda filters: filters.square().sum(),
    FirstLayerNorm.L1: lambda filters: filters.abs().sum(),
    FirstLayerNorm.SPECTRAL: _spectral,
    FirstLayerNorm.GAIN: lambda filters: filters.abs().sum(dim=1).amax(),
}
