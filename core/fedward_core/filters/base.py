"""The contract of every filter: clipping, noise, quantisation and delta encoding are one idea with two sides.

Filters are applied in the spec's order at the site, and undone in reverse on the server.
"""

from typing import Protocol

from fedward_core.arrays import Array, Arrays
from fedward_core.manifest import Manifest
from fedward_core.update import Update


class Filter(Protocol):
    """Changes an update at the site and changes it back on the server."""

    def encode(self, update: Update, reference: Arrays, *, seed: int) -> Update:
        """At the site, before sending.

        Args:
            update: What the site would send.
            reference: The global weights it started from, in the same shapes as the update's shared part.
            seed: For filters that draw.
        """

    def decode(self, update: Update, reference: Arrays, manifest: Manifest) -> Update:
        """On the server, before checking and folding.

        Args:
            update: What arrived.
            reference: The same weights as at the site.
            manifest: What the shared part must look like afterwards.

        Raises:
            UpdateError: The update does not have the form that this filter gives.
        """

    def finish(self, aggregate: dict[str, Array], weights: tuple[float, ...]) -> dict[str, Array]:
        """On the server, after the round: for filters whose effect shows only in the sum."""
