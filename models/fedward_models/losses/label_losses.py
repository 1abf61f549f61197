"""Losses against labels, one for each kind of task, all per image.

Letters: B batch, K classes, H height, W width; D slices stand before H in volumes.
"""

from torch import Tensor
from torch.nn import functional


def classification_loss(logits: Tensor, labels: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
    """Cross-entropy with one class, or a mixture of classes, as the target.

    Args:
        logits: (B, K).
        labels: (B,) class numbers, or (B, K) floats that sum to 1.
        label_smoothing: The part of the target that is spread evenly over the classes.

    Returns:
        (B,).
    """
    return functional.cross_entropy(logits, labels, reduction="none", label_smoothing=label_smoothing)


def multi_label_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Binary cross-entropy, the mean over classes.

    Args:
        logits: (B, K).
        labels: (B, K), in [0, 1].

    Returns:
        (B,).
    """
    losses = functional.binary_cross_entropy_with_logits(logits, labels.to(logits.dtype), reduction="none")
    return losses.mean(dim=1)


def segmentation_loss(logits: Tensor, labels: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
    """Cross-entropy of every pixel or voxel, the mean over them.

    Args:
        logits: (B, K, H, W) or (B, K, D, H, W).
        labels: (B, H, W) or (B, D, H, W) class numbers.
        label_smoothing: The part of each pixel's target that is spread evenly over the classes.

    Returns:
        (B,).
    """
    losses = functional.cross_entropy(logits, labels, reduction="none", label_smoothing=label_smoothing)
    return losses.mean(dim=tuple(range(1, losses.ndim)))
