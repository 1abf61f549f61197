"""Aggregators that sort: for each coordinate, some values at either end are left out and the rest is averaged.

These must see all updates at once and hold them: memory grows with the number of sites. Beyond that, one tensor of all
sites is sorted at a time. Sites count alike, whatever their number of images: a bad site could name any.
"""

from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from fedward_core.arrays import Array, Arrays
from fedward_core.errors import RoundError
from fedward_core.manifest import Manifest
from fedward_core.update import Update


class OrderStatistic(ABC):
    """The unweighted mean of what is left of each coordinate. Nothing is kept from round to round."""

    def __init__(self) -> None:
        self._updates: list[Arrays] = []

    def begin(self, manifest: Manifest) -> None:  # noqa: ARG002 - the signature of the family
        """Forget the round before."""
        self._updates = []

    def add(self, update: Update) -> None:
        """Hold one update until the end of the round."""
        self._updates.append(update.shared)

    def finish(self, current: Arrays) -> dict[str, Array]:  # noqa: ARG002 - the signature of the family
        """Sort and average, tensor by tensor.

        Raises:
            RoundError: No update was added, or too few for this rule.
        """
        if not self._updates:
            raise RoundError("no site contributed to this round: there is nothing to sort")
        trimmed = self.num_trimmed(len(self._updates))
        return {
            name: _mean_of_the_middle(np.stack([update[name] for update in self._updates]), trimmed)
            for name in self._updates[0]
        }

    @abstractmethod
    def num_trimmed(self, updates: int) -> int:
        """How many of so many updates are left out at either end; fewer than half.

        Raises:
            RoundError: They are too few.
        """

    def state(self) -> tuple[dict[str, Array], dict[str, Any]]:
        """Nothing."""
        return {}, {}

    def load(self, arrays: Arrays, facts: dict[str, Any]) -> None:  # noqa: B027 - there is nothing to override it with
        """Nothing to take back."""


def _mean_of_the_middle(stack: Array, trimmed: int) -> Array:
    """The mean over axis 0 without ``trimmed`` values at either end; ``stack`` is sorted in place.

    The sum is taken in float64, so that identical values give themselves bit for bit.
    """
    stack.sort(axis=0)
    middle: Array = stack[trimmed : len(stack) - trimmed].mean(axis=0, dtype=np.float64)
    return np.asarray(middle, dtype=stack.dtype)
