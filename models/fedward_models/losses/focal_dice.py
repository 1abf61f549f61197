"""The loss of segmentation where most of an image is background: focal cross-entropy, and overlap.

Papers: T.-Y. Lin, P. Goyal, R. Girshick, K. He, P. Dollár, "Focal Loss for Dense Object Detection", ICCV 2017,
https://arxiv.org/abs/1708.02002; F. Milletari, N. Navab, S.-A. Ahmadi, "V-Net", 3DV 2016,
https://arxiv.org/abs/1606.04797, for soft Dice. MGCA adds ten times the first to minus the logarithm of the second.

With two classes the logits' difference is the single logit of the published code.

Letters: B batch, K classes of which the first is the background, H height, W width; D slices stand before H in volumes.
"""

import torch
from torch import Tensor
from torch.nn import functional


def focal_loss(logits: Tensor, labels: Tensor, *, gamma: float = 2.0) -> Tensor:
    """Cross-entropy of every pixel, times the chance of being wrong to a power; the mean over pixels.

    Args:
        logits: (B, K, H, W).
        labels: (B, H, W) class numbers.
        gamma: The power. 2 in MGCA; at 0 it is the cross-entropy.

    Returns:
        (B,).
    """
    losses = functional.cross_entropy(logits, labels, reduction="none")
    # Where a chance of 1 leaves none of being wrong, a power below 1 would have no slope.
    wrong = (1 - (-losses).exp()).clamp(min=torch.finfo(losses.dtype).tiny)
    return (wrong**gamma * losses).mean(dim=(1, 2))


def soft_dice(logits: Tensor, labels: Tensor, *, smooth: float = 1.0) -> Tensor:
    """Twice the overlap over the sum of sizes, where a place belongs to a class as far as its probability says.

    Args:
        logits: (B, K, H, W) or (B, K, D, H, W).
        labels: (B, H, W) or (B, D, H, W) class numbers.
        smooth: Added above and below; 1 in MGCA. It makes nothing beside nothing 1.

    Returns:
        (B,), the mean over all classes but the first, in [0, 1].
    """
    probabilities = logits.softmax(dim=1)[:, 1:]
    truth = functional.one_hot(labels, logits.shape[1]).movedim(-1, 1)[:, 1:]
    within = tuple(range(2, logits.ndim))
    overlap, sizes = (values.sum(dim=within) for values in (probabilities * truth, probabilities + truth))
    return ((2 * overlap + smooth) / (sizes + smooth)).mean(dim=1)


def joined(values: Tensor) -> Tensor:
    """A batch as one wide image, whose overlap is that of all together: (B, ..., H, W) to (1, ..., H, B*W)."""
    height, width = values.shape[-2:]
    return values.movedim(0, -2).reshape(*values.shape[1:-2], height, len(values) * width)[None]
