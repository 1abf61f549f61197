"""Folds updates in the order of the sites' names, whatever the order in which they arrive.

    arrived:  south  east            folded:  -            east comes first and is not there yet ... it is: east
              east                            east, south  then south, which waited in the inbox

So the order of arrival changes no digit of the result, and at most one update is in memory at a time.
"""

from collections.abc import Callable, Iterable

from fedward_core.update import Update


class OrderedFold:
    """Lets updates through in order.

    Args:
        sites: Every site that may contribute.
        fold: Called with each update, in the order of the sites.
        fetch: Reads the update of a site that arrived before its turn.
    """

    def __init__(self, sites: Iterable[str], fold: Callable[[Update], None], fetch: Callable[[str], Update]) -> None:
        self._waiting = sorted(sites)
        self._arrived: set[str] = set()
        self._gone: set[str] = set()
        self._fold = fold
        self._fetch = fetch

    def arrive(self, update: Update) -> None:
        """An update is here and in the inbox."""
        if self._waiting and self._waiting[0] == update.site:
            self._waiting.pop(0)
            self._fold(update)
        else:
            self._arrived.add(update.site)
        self._advance()

    def give_up(self, site: str) -> None:
        """A site will not contribute to this round."""
        self._gone.add(site)
        self._advance()

    def _advance(self) -> None:
        while self._waiting and self._waiting[0] in self._arrived | self._gone:
            site = self._waiting.pop(0)
            if site in self._arrived:
                self._fold(self._fetch(site))
