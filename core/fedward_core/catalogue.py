"""The datasets of one site, as the site itself sees them."""

from typing import Any, Protocol

from fedward_core.cards import DatasetCard, Split


class Catalogue(Protocol):
    """Lists cards and opens data; the coordinator sees the cards only."""

    def cards(self) -> tuple[DatasetCard, ...]:
        """A card for each dataset of this site."""

    def open(self, name: str, split: Split) -> Any:
        """Open one split of one dataset.

        Raises:
            DataError: No such dataset, no image in that split, or too many bad files.
        """
