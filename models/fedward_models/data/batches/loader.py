"""Batches of an image set. Order and augmentation depend on the seed that is passed, and on nothing that ran before."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from fedward_core.arrays import Array
from fedward_core.errors import SpecError
from fedward_core.seeds import derive_seed, generator
from fedward_models.batch import Batch
from fedward_models.data.batches.ahead import ahead
from fedward_models.data.batches.augmentation import augment
from fedward_models.data.batches.share import Share
from fedward_models.data.image_set import ImageSet

LARGEST_BATCH = 2**25  # decided here: values of a batch for evaluation, 128 MiB of floats; 128 volumes of 64 x 64 x 64
_WHOLE = Share()


class Loader:
    """Standardised batches of one site.

    Args:
        images: The set.
        batch_size: Images of a training batch.
        augment: Whether training batches are changed at random.
        prepare_ahead: Whether a thread prepares the next batch while the last one is used; the batches are the same.
        balanced: Whether an epoch draws images with replacement, each by one over the images of its class.
        share: Which part of every training batch is given, where workers train together.

    Attributes:
        num_examples: Images of the set.
        num_steps: Batches of an epoch. An incomplete last batch is dropped; fewer images than a batch make one of all.
        patients: The patient of each image, in the order of :meth:`in_order`.

    Raises:
        SpecError: ``balanced``, and images have no class, or more than one; or a batch is smaller than its shares.
    """

    def __init__(  # noqa: PLR0913 - each by name
        self,
        images: ImageSet,
        *,
        batch_size: int,
        augment: bool,
        prepare_ahead: bool = False,
        balanced: bool = False,
        share: Share = _WHOLE,
    ) -> None:
        share.check(min(batch_size, len(images)))
        self.num_examples = len(images)
        self.num_steps = max(len(images) // batch_size, 1)
        self.patients = images.patients
        self._images = images
        self._batch_size = batch_size
        self._augment = augment
        self._share = share
        self._chances = _chances(images.labels) if balanced else None
        self._handed: Callable[[Iterator[Batch]], Iterator[Batch]] = ahead if prepare_ahead else iter

    def epoch(self, seed: int) -> Iterator[Batch]:
        """One pass in an order drawn from the seed; every image at most once, unless balanced."""
        return self._handed(self._epoch(seed))

    def in_order(self, batch_size: int) -> Iterator[Batch]:
        """Every image once, as it lies in the set, never augmented; large volumes in smaller batches."""
        return self._handed(self._in_order(min(batch_size, max(LARGEST_BATCH // self._images.stored[0].numel(), 1))))

    def _epoch(self, seed: int) -> Iterator[Batch]:
        order = self._order(generator(seed, "order"))
        for step in range(self.num_steps):
            chosen = order[step * self._batch_size : (step + 1) * self._batch_size]
            own = self._share.own_seed(derive_seed(seed, "batch", step))
            yield self._batch(self._share.of(chosen), own, augmented=self._augment)

    def _order(self, rng: np.random.Generator) -> Tensor:
        if self._chances is None:
            return torch.from_numpy(rng.permutation(self.num_examples))
        return torch.from_numpy(rng.choice(self.num_examples, size=self.num_examples, p=self._chances))

    def _in_order(self, batch_size: int) -> Iterator[Batch]:
        for start in range(0, self.num_examples, batch_size):
            chosen = torch.arange(start, min(start + batch_size, self.num_examples))
            yield self._batch(chosen, 0, augmented=False)

    def _batch(self, chosen: Tensor, seed: int, *, augmented: bool) -> Batch:
        images = self._images.subset(chosen)
        pixels, labels = images.images.float(), images.labels
        if augmented:
            pixels, labels = augment(pixels, labels, np.random.default_rng(seed))
        return Batch(
            images=pixels.sub_(images.mean * 255).div_(images.std * 255),
            labels=labels,
            seed=seed,
            reports=images.reports,
            mean=images.mean,
            std=images.std,
        )


def _chances(labels: Tensor | None) -> Array:
    """(N,) chances that give every class that is present the same sum."""
    if labels is None or labels.ndim != 1:
        raise SpecError("local.balanced draws by the class of each image, expected one class an image: leave it out")
    weights = 1 / np.bincount(labels.numpy())[labels.numpy()]
    return np.asarray(weights / weights.sum())
