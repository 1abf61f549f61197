"""Keeps a catalogue up to date beside the reports, which wait for it only briefly: a million images take an hour."""

import logging
import time
from collections.abc import Mapping
from threading import Thread

from fedward_client.agent.catalogue import Catalogue
from fedward_client.agent.policy import Offer
from fedward_core.errors import FedwardError

# Decided here: a third of the time after which the coordinator takes a silent site for one that is offline.
PATIENCE_S = 10.0
# Decided here: what failed is likely to fail again, and may have taken long to do so.
RETRY_S = 60.0

log = logging.getLogger(__name__)


class Counting:
    """Makes the cards of a catalogue in a thread of its own.

    Args:
        catalogue: Its cards are replaced as a whole once the new ones are made.
    """

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._thread: Thread | None = None
        self._rests_until_s = 0.0

    def refresh(self, offers: Mapping[str, Offer]) -> None:
        """Bring the catalogue up to date; return when that is done, has failed, or takes longer."""
        if self._thread is None or not self._thread.is_alive():
            if time.monotonic() < self._rests_until_s:
                return
            self._thread = Thread(target=self._work, args=(offers,), name="catalogue", daemon=True)
            self._thread.start()
        self._thread.join(PATIENCE_S)

    def _work(self, offers: Mapping[str, Offer]) -> None:
        try:
            self._catalogue.refresh(offers)
        except FedwardError as error:
            self._rest(str(error))
        except Exception:
            log.exception("a fault of the agent itself, which goes on")
            self._rest("the cards of the site's datasets could not be made")

    def _rest(self, fault: str) -> None:
        self._rests_until_s = time.monotonic() + RETRY_S
        log.warning("%s; the next try is in %.0f s", fault, RETRY_S)
