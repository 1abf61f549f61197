"""What experiments on labelled images have in common: the images, and figures by image."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.experiments.pretraining import MEAN, STD, read
from fedward_models.batch import Batch
from fedward_models.methods.supervised.supervised import Supervised


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """Pixels in [0, 1], (N, C, H, W), with their classes, (N,), and how they are standardised."""

    pixels: Tensor
    labels: Tensor
    mean: float = 0.0
    std: float = 1.0

    def __len__(self) -> int:
        return len(self.pixels)

    def part(self, start: int, stop: int) -> "Labelled":
        """Some of them."""
        return replace(self, pixels=self.pixels[start:stop], labels=self.labels[start:stop])

    def batch(self, chosen: Tensor | slice) -> Batch:
        """A batch as a loader gives it."""
        images = (self.pixels[chosen] - self.mean) / self.std
        return Batch(images=images, labels=self.labels[chosen], mean=self.mean, std=self.std)


def read_labelled(path: Path, count: int) -> Labelled:
    """The first images of a file of CIFAR-10."""
    found = read(path, count)
    return Labelled(pixels=(found.images * STD + MEAN).clamp(0, 1), labels=found.labels, mean=MEAN, std=STD)


def digits(side_px: int) -> Labelled:
    """scikit-learn's 1,797 digits, enlarged, in an order that is always the same."""
    from sklearn.datasets import load_digits  # noqa: PLC0415 - heavy, and only here

    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))
    small = torch.from_numpy(images[order]).float().view(-1, 1, 8, 8) / 16
    pixels = functional.interpolate(small, size=side_px, mode="bilinear", align_corners=False)
    return Labelled(pixels=pixels, labels=torch.from_numpy(labels[order]).long())


def mean_over(data: Labelled, measure: Callable[[Batch], Tensor], *, batch_size: int = 250) -> float:
    """The mean of a value of each image."""
    parts = [measure(data.batch(slice(at, at + batch_size))) for at in range(0, len(data), batch_size)]
    return float(torch.cat(parts).float().mean())


@torch.no_grad()
def accuracy(method: Supervised, data: Labelled) -> float:
    """How often the class that is named is right, to four places."""
    return round(mean_over(data, lambda batch: method.logits(batch.images).argmax(dim=1) == batch.needed_labels()), 4)
