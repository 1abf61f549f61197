"""The mean weighted by images or by sites, as a running mean: one model in memory, whatever the number of sites.

    m = x1                          m <- m - (m - xk) * nk / (n1 + ... + nk)

Unlike a sum that is divided at the end, this gives one site its own weights back, and identical updates themselves, bit
for bit. Written as a difference that is subtracted, it keeps the sign of zeros, too.
"""

from typing import Any

import numpy as np

from fedward_core.aggregation.config import WeightedMeanConfig
from fedward_core.arrays import Array, Arrays
from fedward_core.errors import RoundError
from fedward_core.manifest import Manifest
from fedward_core.update import Update

# 128 KiB of float32: a block of the mean, one of the update and their difference fit the cache of a core.
BLOCK = 32_768


class WeightedMean:
    """FedAvg (McMahan et al., AISTATS 2017, algorithm 1).

    The arrays of the first update become the mean and are changed in place, if they can be. All arithmetic is in the
    entries' own type, float32 as a rule. Nothing is kept from round to round.
    """

    def __init__(self, config: WeightedMeanConfig) -> None:
        self.config = config
        self._mean: dict[str, Array] = {}
        self._total = 0

    def begin(self, manifest: Manifest) -> None:  # noqa: ARG002 - the signature of the family
        """Forget the round before."""
        self._mean, self._total = {}, 0

    def add(self, update: Update) -> None:
        """Fold in one update, in place and without a second array of the size of the model."""
        counts = update.num_examples if self.config.weigh_by == "images" else 1
        self._total += counts
        if not self._mean:
            self._mean = {name: _writable(array) for name, array in update.shared.items()}
            return
        weight = counts / self._total
        for name, mean in self._mean.items():
            move_towards(mean, update.shared[name], weight)

    def finish(self, current: Arrays) -> dict[str, Array]:  # noqa: ARG002 - the signature of the family
        """The mean.

        Raises:
            RoundError: No update was added.
        """
        if not self._total:
            raise RoundError("no site contributed to this round: there is nothing to average")
        return self._mean

    def state(self) -> tuple[dict[str, Array], dict[str, Any]]:
        """Nothing."""
        return {}, {}

    def load(self, arrays: Arrays, facts: dict[str, Any]) -> None:
        """Nothing to take back."""


def move_towards(mean: Array, target: Array, weight: float) -> None:
    """Move ``mean`` in place by ``weight`` of the way to ``target``, block by block.

    Args:
        mean: Writable, in C order; any shape.
        target: The same shape.
        weight: In [0, 1].
    """
    means, targets = mean.reshape(-1), target.reshape(-1)
    step = np.empty(min(BLOCK, means.size), means.dtype)
    for start in range(0, means.size, BLOCK):
        block = means[start : start + BLOCK]
        part = step[: block.size]
        np.subtract(block, targets[start : start + BLOCK], out=part)
        np.multiply(part, weight, out=part)
        np.subtract(block, part, out=block)


def _writable(array: Array) -> Array:
    return np.require(array, requirements=("C", "W"))
