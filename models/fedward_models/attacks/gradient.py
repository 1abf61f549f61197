"""The gradient of the loss by the pixels, with a stated rule for pixels at the border of the image range."""

from collections.abc import Callable
from enum import StrEnum
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

LogitsOf: TypeAlias = Callable[[Tensor], Tensor]
"""From (B, C, H, W) pixels in [0, 1] to (B, K) logits."""


class Ties(StrEnum):
    """What reaches a pixel that is exactly black or white through the clamp to [0, 1].

    Libraries differ, from release to release; so the rule is ours. Outside of the range nothing passes.
    """

    ZERO = "zero"  # nothing: saturated pixels stay as they are (GradAlign's code on the torch of its authors)
    HALF = "half"  # half of it: saturated pixels may move inwards (a clamp made of two-tensor minimum and maximum)
    PASS = "pass"  # all of it, as if there were no clamp (the code of fast adversarial training)  # noqa: S105


def input_gradient(
    logits_of: LogitsOf, pixels: Tensor, labels: Tensor, *, ties: Ties = Ties.PASS, create_graph: bool = False
) -> Tensor:
    """The gradient of each image's cross-entropy by its pixels; gradients of parameters are left alone.

    Args:
        logits_of: The classifier.
        pixels: (B, C, H, W); where a rule other than ``PASS`` is given, they are clamped to [0, 1] first.
        labels: (B,) class numbers.
        ties: The rule at the border.
        create_graph: Whether a loss may be made of the gradient.

    Returns:
        (B, C, H, W).
    """
    with torch.enable_grad():
        points = (pixels if ties is Ties.PASS else pixels.clamp(0, 1)).detach().requires_grad_()
        # A sum, so that an image's gradient does not depend on how many others there are.
        loss = functional.cross_entropy(logits_of(points), labels, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, points, create_graph=create_graph)
    return gradient if ties is Ties.PASS else gradient * _passing(pixels, ties)


def _passing(pixels: Tensor, ties: Ties) -> Tensor:
    inside = ((pixels > 0) & (pixels < 1)).to(pixels.dtype)
    if ties is Ties.ZERO:
        return inside
    return inside + 0.5 * ((pixels == 0) | (pixels == 1)).to(pixels.dtype)
