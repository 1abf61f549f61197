"""Losses against labels, each with its slow twin."""

from math import exp, log

import pytest
import torch
from torch import Tensor

from fedward_models.losses.label_losses import classification_loss, multi_label_loss, segmentation_loss


def cross_entropy_slowly(logits: list[float], target: list[float], smoothing: float) -> float:
    total = sum(exp(logit) for logit in logits)
    smoothed = [(1 - smoothing) * part + smoothing / len(target) for part in target]
    return -sum(part * log(exp(logit) / total) for part, logit in zip(smoothed, logits, strict=True))


def one_hot(label: int, classes: int) -> list[float]:
    return [float(index == label) for index in range(classes)]


@pytest.mark.parametrize(("batch", "classes"), [(1, 1), (1, 3), (5, 2), (4, 7)])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_classification_loss_of_class_numbers(batch: int, classes: int, smoothing: float) -> None:
    logits, labels = torch.randn(batch, classes), torch.randint(classes, (batch,))
    expected = [
        cross_entropy_slowly(row, one_hot(label, classes), smoothing)
        for row, label in zip(logits.tolist(), labels.tolist(), strict=True)
    ]
    losses = classification_loss(logits, labels, label_smoothing=smoothing)
    torch.testing.assert_close(losses, torch.tensor(expected))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_classification_loss_of_mixtures(smoothing: float) -> None:
    logits, targets = torch.randn(4, 3), torch.randn(4, 3).softmax(dim=1)
    expected = [
        cross_entropy_slowly(row, target, smoothing)
        for row, target in zip(logits.tolist(), targets.tolist(), strict=True)
    ]
    losses = classification_loss(logits, targets, label_smoothing=smoothing)
    torch.testing.assert_close(losses, torch.tensor(expected))


@pytest.mark.parametrize(("batch", "classes"), [(1, 1), (3, 5)])
@pytest.mark.parametrize("dtype", [torch.int64, torch.float32])
def test_multi_label_loss(batch: int, classes: int, dtype: torch.dtype) -> None:
    logits, labels = torch.randn(batch, classes), torch.randint(2, (batch, classes)).to(dtype)
    expected = []
    for row, truth in zip(logits.tolist(), labels.tolist(), strict=True):
        chances = [1 / (1 + exp(-logit)) for logit in row]
        terms = [log(p) if y else log(1 - p) for p, y in zip(chances, truth, strict=True)]
        expected.append(-sum(terms) / classes)
    torch.testing.assert_close(multi_label_loss(logits, labels), torch.tensor(expected))


@pytest.mark.parametrize(("batch", "classes", "height", "width"), [(1, 1, 1, 1), (2, 3, 5, 3)])
def test_segmentation_loss(batch: int, classes: int, height: int, width: int) -> None:
    logits, labels = torch.randn(batch, classes, height, width), torch.randint(classes, (batch, height, width))

    def of_image(image: int) -> float:
        pixels = [
            cross_entropy_slowly(logits[image, :, i, j].tolist(), one_hot(int(labels[image, i, j]), classes), 0.1)
            for i in range(height)
            for j in range(width)
        ]
        return sum(pixels) / len(pixels)

    losses: Tensor = segmentation_loss(logits, labels, label_smoothing=0.1)
    torch.testing.assert_close(losses, torch.tensor([of_image(image) for image in range(batch)]))
