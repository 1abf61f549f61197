"""The server's side of SCAFFOLD: weights are averaged, and the control variate follows all sites' variates.

    x <- x + lr * mean(y_k - x)              over the sites of the round, each counting alike; statistics at lr 1
    c <- mean of c_k                         over every site that has ever contributed

Paper: S. P. Karimireddy et al., "SCAFFOLD: Stochastic Controlled Averaging for Federated Learning", ICML 2020,
https://arxiv.org/abs/1910.06378, algorithm 1. Differs: the paper's c is a mean over all N sites, in which those that
have not contributed yet count as zero; here they do not count, for an aggregator learns of sites by their
contributions. Once every site has contributed, both are the same.
"""

from typing import Any

from fedward_core.aggregation.config import ScaffoldMeanConfig, WeightedMeanConfig
from fedward_core.aggregation.weighted_mean import WeightedMean
from fedward_core.arrays import Array, Arrays
from fedward_core.manifest import Kind, Manifest
from fedward_core.update import Update

SERVER_VARIATE = "variate.server"


class ScaffoldMean:
    """Folds weights and variates; remembers which sites have contributed, which survives a restart.

    A site sends the server's variate moved by how far its own has moved.
    """

    def __init__(self, config: ScaffoldMeanConfig) -> None:
        self._lr = config.lr
        self._mean = WeightedMean(WeightedMeanConfig(weigh_by="sites"))
        self._parameters: frozenset[str] = frozenset()
        self._known: frozenset[str] = frozenset()
        self._contributed: set[str] = set()

    def begin(self, manifest: Manifest) -> None:
        """Forget the round before, and note which entries are parameters."""
        self._parameters, self._contributed = frozenset(manifest.names(Kind.PARAMETER)), set()
        self._mean.begin(manifest)

    def add(self, update: Update) -> None:
        """Fold in one update."""
        self._contributed.add(update.site)
        self._mean.add(update)

    def finish(self, current: Arrays) -> dict[str, Array]:
        """Move weights and variate.

        Raises:
            RoundError: No update was added.
        """
        mean = self._mean.finish(current)
        before, self._known = len(self._known), self._known | self._contributed
        return {
            name: self._moved_variate(current[name], array, before)
            if name == SERVER_VARIATE
            else self._moved(name, current[name], array)
            for name, array in mean.items()
        }

    def _moved(self, name: str, current: Array, mean: Array) -> Array:
        """Buffers are plain means: past the mean, a variance could become negative."""
        if self._lr == 1 or name not in self._parameters:
            return mean  # at 1 the formula would round
        moved: Array = current + self._lr * (mean - current)
        return moved

    def _moved_variate(self, current: Array, mean: Array, before: int) -> Array:
        """The sum of the known variates, ``before`` times the old mean, moves by that of the round's movements."""
        known, moving = len(self._known), len(self._contributed)
        if moving == known and before in (0, known):
            return mean  # all of them moved; the formula would round
        moved: Array = (before * current + moving * (mean - current)) / known
        return moved.astype(current.dtype)

    def state(self) -> tuple[dict[str, Array], dict[str, Any]]:
        """Which sites have contributed."""
        return {}, {"sites": sorted(self._known)}

    def load(self, arrays: Arrays, facts: dict[str, Any]) -> None:  # noqa: ARG002 - the signature of the family
        """Take that back."""
        self._known = frozenset(facts.get("sites", ()))
