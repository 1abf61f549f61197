"""Sharpness-aware minimisation: a step is led by the gradient at the worst point nearby.

Paper: P. Foret, A. Kleiner, H. Mobahi, B. Neyshabur, "Sharpness-Aware Minimization for Efficiently Improving
Generalization", ICLR 2021, arXiv:2010.01412, eq. 2. In a federation each site looks for its own worst point (FedSAM, Qu
et al., ICML 2022).

Differs: running statistics, such as those of batch normalisation, take in both passes of a step, and so activations at
the worst point too. The authors' code (google-research/sam) keeps those of the first pass alone. Steps are the same, as
training normalises by the batch; what evaluation reads is not.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def uphill(parameters: Sequence[nn.Parameter], rho: float) -> Iterator[None]:
    """Move weights along their gradients to a distance of rho, and afterwards back to the very same bits.

    Args:
        parameters: What is trained; those without a gradient stand still.
        rho: The distance, over all weights together.
    """
    moved = [parameter for parameter in parameters if parameter.grad is not None]
    before = [parameter.detach().clone() for parameter in moved]
    norm = nn.utils.get_total_norm([parameter.grad for parameter in moved if parameter.grad is not None])
    with torch.no_grad():
        for parameter in moved:
            assert parameter.grad is not None
            parameter.add_(parameter.grad * (rho / (norm + 1e-12)).to(parameter.dtype))
    try:
        yield
    finally:
        with torch.no_grad():
            for parameter, weights in zip(moved, before, strict=True):
                parameter.copy_(weights)
