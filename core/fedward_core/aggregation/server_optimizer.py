"""What server optimisers have in common: the movement of a round is read as a gradient that points the other way.

    mean of the updates - current  =  delta  -->  optimiser  -->  current + step

Trainable parameters move so. Buffers (the statistics of norms) are plain means: a moment of a mean has no meaning.
"""

from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from fedward_core.aggregation.config import WeightedMeanConfig
from fedward_core.aggregation.weighted_mean import WeightedMean
from fedward_core.arrays import Array, Arrays
from fedward_core.manifest import Kind, Manifest
from fedward_core.update import Update


class ServerOptimizer(ABC):
    """Moves the global weights along the weighted mean of the updates; its moments survive a restart."""

    def __init__(self) -> None:
        self._mean = WeightedMean(WeightedMeanConfig())
        self._moments: dict[str, Array] = {}
        self._parameters: frozenset[str] = frozenset()

    def begin(self, manifest: Manifest) -> None:
        """Start a round, and note which entries are parameters."""
        self._parameters = frozenset(manifest.names(Kind.PARAMETER))
        self._mean.begin(manifest)

    def add(self, update: Update) -> None:
        """Fold in one update."""
        self._mean.add(update)

    def finish(self, current: Arrays) -> dict[str, Array]:
        """Move ``current``; the moments move with it.

        Raises:
            RoundError: No update was added.
        """
        mean = self._mean.finish(current)
        return {
            name: current[name] + self.step(name, array - current[name]) if name in self._parameters else array
            for name, array in mean.items()
        }

    @abstractmethod
    def step(self, name: str, delta: Array) -> Array:
        """How far an entry moves, in its own shape, and its new moments.

        Args:
            name: The entry.
            delta: The weighted mean of the updates less the current value.
        """

    def moment(self, kind: str, name: str, like: Array, *, start: float = 0.0) -> Array:
        """A moment of an entry as the last round left it.

        It starts anew in the first round, and when the shape of what travels has changed because the private share
        grew: then the old numbers belong to other channels.
        """
        moment = self._moments.get(f"{kind}/{name}")
        if moment is None or moment.shape != like.shape:
            return np.full_like(like, start)
        return moment

    def keep(self, kind: str, name: str, moment: Array) -> Array:
        """Keep a moment for the next round, and give it back."""
        self._moments[f"{kind}/{name}"] = moment
        return moment

    def state(self) -> tuple[dict[str, Array], dict[str, Any]]:
        """The moments, under ``<kind>/<name>``."""
        return dict(self._moments), {}

    def load(self, arrays: Arrays, facts: dict[str, Any]) -> None:  # noqa: ARG002 - the signature of the family
        """Take the moments back."""
        self._moments = dict(arrays)
