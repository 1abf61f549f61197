"""What all personal models together make of a public dataset, from the sites' predictions alone.

Source: Y. Shen, Y. Zhou, L. Yu, CD2-pFed, CVPR 2022, arXiv:2204.03880, judges images of no participating site by such
an ensemble. Decided here: the mean is that of the probabilities, and each site scores the images itself, so that no
weight leaves it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from fedward_core.arrays import Array, Arrays, write_arrays
from fedward_core.cards import Task
from fedward_core.errors import UpdateError
from fedward_core.metric import Metric

PROBABILITIES, LABELS = "probabilities", "labels"
FILE = "public.safetensors"


@dataclass
class PublicEnsemble:
    """Collects predictions, a site at a time.

    Attributes:
        task: What the labels mean.
        sites: What each site sent: (N, K) probabilities.
        labels: (N,) or (N, K), of the public dataset, as the first site read them.
    """

    task: Task
    sites: dict[str, Array] = field(default_factory=dict)
    labels: Array | None = None

    def add(self, site: str, predictions: Arrays) -> None:
        """Take a site's predictions in.

        Raises:
            UpdateError: They are no probabilities of the images that the other sites predicted.
        """
        if predictions.keys() != {PROBABILITIES, LABELS}:
            raise UpdateError("expected probabilities and labels of the public dataset, and nothing else")
        probabilities, labels = np.asarray(predictions[PROBABILITIES]), np.asarray(predictions[LABELS])
        if probabilities.ndim != 2 or not probabilities.size or not _are_shares(probabilities):
            raise UpdateError("expected one probability in [0, 1] for each image and class")
        if labels.shape[:1] != probabilities.shape[:1] or (self.task is Task.CLASSIFICATION and labels.ndim != 1):
            raise UpdateError(f"expected labels of {len(probabilities)} images, found an array of shape {labels.shape}")
        if self.sites and not self._fits(probabilities, labels):
            raise UpdateError("its public dataset has other images, classes or labels than that of the other sites")
        self.sites[site], self.labels = probabilities, labels

    def _fits(self, probabilities: Array, labels: Array) -> bool:
        first = next(iter(self.sites.values()))
        return probabilities.shape == first.shape and np.array_equal(labels, np.asarray(self.labels))

    def mean(self) -> Array:
        """(N, K), float32; the order in which sites answered changes no digit."""
        total = sum((self.sites[site].astype(np.float64) for site in sorted(self.sites)), np.zeros(()))
        return np.asarray(total / len(self.sites), dtype=np.float32)

    def metrics(self) -> Mapping[str, Metric]:
        """The accuracy of the mean over all public images; nothing for multi-label."""
        assert self.labels is not None
        if self.task is not Task.CLASSIFICATION:
            return {}
        right = self.mean().argmax(axis=1) == self.labels
        return {"accuracy": Metric(value=float(right.mean()), n=len(right))}

    def write(self, folder: Path) -> None:
        """Keep the mean and the labels, with the names of the sites, as ``public.safetensors``.

        Raises:
            CheckpointError: The disk is full or not writable.
        """
        assert self.labels is not None
        arrays = {PROBABILITIES: self.mean(), LABELS: self.labels}
        write_arrays(folder / FILE, arrays, {"sites": sorted(self.sites)})


def _are_shares(probabilities: Array) -> bool:
    return bool(np.isfinite(probabilities).all() and (probabilities >= 0).all() and (probabilities <= 1).all())
