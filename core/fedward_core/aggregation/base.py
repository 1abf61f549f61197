"""The contract of every aggregator.

Updates are folded in one at a time and in the order of the sites' names, so that a hundred hospitals do not mean a
hundred models in memory and the order of arrival changes no digit. Rules that must see all updates at once (median,
trimmed mean) hold them, and say so.
"""

from typing import Any, Protocol

from fedward_core.arrays import Array, Arrays
from fedward_core.manifest import Manifest
from fedward_core.update import Update


class Aggregator(Protocol):
    """Folds the updates of one round; keeps what survives from round to round, such as a server optimiser's moments."""

    def begin(self, manifest: Manifest) -> None:
        """Start a round in which updates with these shared entries are expected."""

    def add(self, update: Update) -> None:
        """Fold in one decoded and checked update; it may be changed, and is kept only if the rule needs it."""

    def finish(self, current: Arrays) -> dict[str, Array]:
        """End the round.

        Args:
            current: The shared part of the global weights before the round.

        Returns:
            The shared part after it.

        Raises:
            RoundError: No update was added.
        """

    def state(self) -> tuple[dict[str, Array], dict[str, Any]]:
        """What must survive a restart: arrays and JSON values."""

    def load(self, arrays: Arrays, facts: dict[str, Any]) -> None:
        """Take back what :meth:`state` gave."""
