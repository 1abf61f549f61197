"""What is noted of every image: as little as the figures need, so that no map of pixels is kept.

Letters: B batch, K classes, H height, W width; D slices stand before H in volumes.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from fedward_core.arrays import Array
from fedward_core.cards import Task
from fedward_core.errors import DataError, DivergedError

SMALLEST = torch.finfo(torch.float32).tiny


def rows_of(predictions: Tensor, labels: Tensor | None, task: Task) -> dict[str, Array]:
    """Note a batch.

    Args:
        predictions: What the method predicts: (B,) losses of a method without classes, else (B, K), (B, K, H, W) or
            (B, K, D, H, W) probabilities.
        labels: (B,), (B, K), (B, H, W) or (B, D, H, W).
        task: What the labels mean.

    Returns:
        ``loss`` (B,), the negative log-likelihood of the labels; for images with classes also ``probabilities`` (B, K)
        and ``labels``; for segmentation ``dice`` (B, K).

    Raises:
        DataError: The method predicts classes and there are no labels to compare with.
        DivergedError: A prediction is not finite; the greatest of such numbers would be no class.
    """
    if not bool(predictions.isfinite().all()):
        raise DivergedError(
            "evaluation found predictions that are not finite: the weights diverged. Lower the learning rate, or "
            "evaluate an earlier round"
        )
    if predictions.ndim == 1:
        return {"loss": _array(predictions)}
    if labels is None:
        raise DataError("evaluation found no labels: label the split that is evaluated, or evaluate another one")
    return {name: _array(tensor) for name, tensor in _NOTERS[task](predictions, labels).items()}


def _classification(probabilities: Tensor, labels: Tensor) -> dict[str, Tensor]:
    return {
        "loss": functional.nll_loss(_log(probabilities), labels, reduction="none"),
        "probabilities": probabilities,
        "labels": labels,
    }


def _multi_label(probabilities: Tensor, labels: Tensor) -> dict[str, Tensor]:
    likelihood = torch.where(labels > 0, probabilities, 1 - probabilities)
    return {"loss": -_log(likelihood).mean(dim=1), "probabilities": probabilities, "labels": labels}


def _segmentation(probabilities: Tensor, labels: Tensor) -> dict[str, Tensor]:
    losses = functional.nll_loss(_log(probabilities), labels, reduction="none")
    loss = losses.mean(dim=tuple(range(1, losses.ndim)))
    return {"loss": loss, "dice": _dice(probabilities.argmax(dim=1), labels, num_classes=probabilities.shape[1])}


def _dice(predicted: Tensor, labels: Tensor, *, num_classes: int) -> Tensor:
    """Twice the overlap over the sum of sizes (Dice, Ecology 1945): (B, K), NaN where a class is in neither."""
    columns, within = [], tuple(range(1, labels.ndim))
    for number in range(num_classes):
        ours, theirs = predicted == number, labels == number
        overlap, sizes = (ours & theirs).sum(dim=within), ours.sum(dim=within) + theirs.sum(dim=within)
        columns.append(2 * overlap.double() / sizes)  # 0/0 is NaN
    return torch.stack(columns, dim=1)


def _log(probabilities: Tensor) -> Tensor:
    return probabilities.clamp(min=SMALLEST).log()


def _array(tensor: Tensor) -> Array:
    return np.asarray(tensor.cpu().numpy())


_NOTERS: dict[Task, Callable[[Tensor, Tensor], dict[str, Tensor]]] = {
    Task.CLASSIFICATION: _classification,
    Task.MULTI_LABEL: _multi_label,
    Task.SEGMENTATION: _segmentation,
}
