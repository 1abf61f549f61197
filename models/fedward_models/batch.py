"""A batch: images with everything that was drawn for them."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Self

import torch
from torch import Tensor

from fedward_core.errors import DataError


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Images with everything that was drawn for them.

    Attributes:
        images: (B, C, H, W), float, standardised as the loader says; (B, C, D, H, W) for volumes, of which slices go
            from feet to head, rows from front to back and columns from the patient's right to the left; and
            (B, C, T, H, W) for clips, of which frames follow each other in time.
        labels: (B,) class numbers, (B, K) zeros and ones for multi-label, (B, H, W) class numbers for segmentation, or
            float (B, K) targets after mixing; None where the method reads no labels.
        drawn: What ``prepare`` drew, by name: masks, mixing weights, boxes.
        seed: Seeds what modules draw themselves (dropout, drop-path), so that a step can be repeated.
        reports: The report of each image, for methods that need them; they never leave the site, nor reach a message.
        mean: What was taken from pixels in [0, 1] to standardise them: pixels are images * std + mean.
        std: What they were then divided by.
    """

    images: Tensor
    labels: Tensor | None = None
    drawn: Mapping[str, Tensor] = field(default_factory=dict)
    seed: int = 0
    reports: tuple[str, ...] | None = field(default=None, repr=False)
    mean: float = 0.0
    std: float = 1.0

    def __len__(self) -> int:
        return len(self.images)

    @property
    def pixels(self) -> Tensor:
        """The images before they were standardised, up to rounding: in [0, 1], unless they were changed since."""
        return self.images * self.std + self.mean

    def standardised(self, pixels: Tensor) -> Tensor:
        """Pixels in [0, 1], of whatever shape, standardised as the images of this batch are."""
        return (pixels - self.mean) / self.std

    def needed_labels(self) -> Tensor:
        """The labels, for a method that cannot do without.

        Raises:
            DataError: There are none.
        """
        if self.labels is None:
            raise DataError(
                "training with labels found none in the dataset: label it, or choose a method that needs no labels"
            )
        return self.labels

    def class_numbers(self, num_classes: int) -> Tensor:
        """The labels, for a method that tells one class an image.

        Returns:
            (B,) class numbers, from 0 to ``num_classes - 1``.

        Raises:
            DataError: There are no labels, they are of several classes an image, or some are of no class.
        """
        labels = self.needed_labels()
        if labels.is_floating_point() or labels.ndim != 1:
            raise DataError(f"expected labels of one class an image, found {tuple(labels.shape)}: see dataset.task")
        if outside := int(((labels < 0) | (labels >= num_classes)).sum()):
            raise DataError(
                f"{outside} labels are outside of the {num_classes} classes: expected 0 to {num_classes - 1}"
            )
        return labels

    def to(self, device: torch.device) -> Self:
        """The same batch on a device."""
        labels = None if self.labels is None else self.labels.to(device, non_blocking=True)
        drawn = {name: tensor.to(device, non_blocking=True) for name, tensor in self.drawn.items()}
        return replace(self, images=self.images.to(device, non_blocking=True), labels=labels, drawn=drawn)
