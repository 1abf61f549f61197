"""The contract with whatever keeps Flower's SuperLink alive for sites. Its calls may take seconds."""

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Protocol


class Keeper(Protocol):
    """Looks after one SuperLink, which outlives the coordinator."""

    @property
    def keys(self) -> Path:
        """The folder with what clients of the SuperLink need."""

    def ensure(self) -> str:
        """Start, adopt or restart the SuperLink, and give its address on loopback, ``host:port``."""

    def register(self, site: str, public_key_pem: bytes) -> str:
        """Let the SuperNode that holds the private half of a key join under a site's name; gives Flower's id of it.

        Raises:
            ConflictError: The key was used before.
        """

    def sites(self) -> frozenset[str]:
        """The names under which SuperNodes may join."""

    def forget(self, site: str) -> None:
        """Let the site's SuperNode join no more; to forget one that is not known is fine."""

    def end(self) -> None:
        """End the SuperLink."""


class LateKeeper:
    """A keeper that is made when it is first needed: a coordinator that only simulates never imports Flower.

    Args:
        make: Makes it.
    """

    def __init__(self, make: Callable[[], Keeper]) -> None:
        self._make = make

    @cached_property
    def _keeper(self) -> Keeper:
        return self._make()

    @property
    def keys(self) -> Path:
        """See :class:`Keeper`."""
        return self._keeper.keys

    def ensure(self) -> str:
        """See :class:`Keeper`."""
        return self._keeper.ensure()

    def register(self, site: str, public_key_pem: bytes) -> str:
        """See :class:`Keeper`."""
        return self._keeper.register(site, public_key_pem)

    def sites(self) -> frozenset[str]:
        """See :class:`Keeper`."""
        return self._keeper.sites()

    def forget(self, site: str) -> None:
        """See :class:`Keeper`."""
        self._keeper.forget(site)

    def end(self) -> None:
        """See :class:`Keeper`."""
        self._keeper.end()
