"""Ten sites that read the same digits differently: what channel decoupling is for, on a scale of minutes.

Handwritten digits of scikit-learn; each site permutes the labels of four classes in a cycle, in training and test
alike. Only what two seeds resolve is asserted: that decoupling is far above plain averaging, and not below training
alone.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor

from fedward_core.arrays import Array
from fedward_core.cards import Contract
from fedward_models.batch import Batch

Federate = Callable[..., Any]

SITES, PER_SITE, MOVED, ROUNDS, BATCH = 10, 40, 4, 40, 8
NETWORK = {"widths": (16, 32), "hidden": (64,), "norm": "none"}
LOCAL = {"epochs": 2, "optimizer": {"name": "sgd", "lr": 0.2, "momentum": 0.5}}
DECOUPLED = {"name": "channel_decoupling", "coupling": "rows", "temporal_averaging": None}


@dataclass(frozen=True)
class Digits:
    """A site's digits, in batches of eight."""

    images: Tensor
    labels: Tensor

    @property
    def num_examples(self) -> int:
        return len(self.images)

    @property
    def num_steps(self) -> int:
        return len(self.images) // BATCH

    def epoch(self, seed: int) -> Iterator[Batch]:
        order = torch.randperm(len(self.images), generator=torch.Generator().manual_seed(seed))
        for chosen in torch.split(order[: self.num_steps * BATCH], BATCH):
            yield Batch(images=self.images[chosen], labels=self.labels[chosen], seed=seed)


def sites_of(seed: int) -> dict[str, tuple[Digits, Digits]]:
    """The training and test digits of every site."""
    digits = load_digits()
    images = (digits.images[:, None] / 16 - 0.3).astype(np.float32)
    halves = train_test_split(images, digits.target, test_size=0.3, stratify=digits.target, random_state=seed)
    rng = np.random.default_rng(seed)
    train = np.array_split(rng.permutation(len(halves[0])), SITES)
    test = np.array_split(rng.permutation(len(halves[1])), SITES)
    sites = {}
    for number, (ours, theirs) in enumerate(zip(train, test, strict=True)):
        meaning = _cycled(rng)
        sites[f"site-{number}"] = (
            _digits(halves[0], meaning[halves[2]], ours[:PER_SITE]),
            _digits(halves[1], meaning[halves[3]], theirs),
        )
    return sites


def _cycled(rng: np.random.Generator) -> Array:
    meaning = np.arange(10)
    chosen = rng.choice(10, MOVED, replace=False)
    meaning[chosen] = np.roll(chosen, 1)
    return meaning


def _digits(images: Array, labels: Array, chosen: Array) -> Digits:
    return Digits(torch.from_numpy(images[chosen]), torch.from_numpy(labels[chosen]))


def accuracy(federate: Federate, personalise: Any, seed: int) -> float:
    """Of every site's own model on its own test digits, over all of them, in per cent."""
    sites = sites_of(seed)
    federation = federate(
        personalise,
        rounds=ROUNDS,
        sites=dict.fromkeys(sites, PER_SITE),
        network=NETWORK,
        local=LOCAL,
        contract=Contract(classes=tuple("0123456789")),
        images={site: train for site, (train, _) in sites.items()},
    ).run(ROUNDS)
    right = total = 0
    with torch.no_grad():
        for site, (_, test) in sites.items():
            predicted = federation.evaluated(site).predict(test.images).argmax(dim=1)
            right, total = right + int((predicted == test.labels).sum()), total + len(test.labels)
    return 100 * right / total


@pytest.mark.slow
def test_under_concept_shift_decoupling_is_far_above_averaging_and_not_below_training_alone(federate: Federate) -> None:
    seeds = (0, 1)
    averaged, alone, decoupled = (
        np.mean([accuracy(federate, personalise, seed) for seed in seeds])
        for personalise in (None, "local_only", DECOUPLED)
    )
    assert decoupled >= averaged + 15, (averaged, alone, decoupled)
    assert decoupled >= alone - 1, (averaged, alone, decoupled)
