"""How long to wait between two looks for work: briefly after some, longer the longer there was none."""

import time

SHARE = 0.1


class Pace:
    """Waits a tenth of the time since the last piece of work, within bounds.

    Decided here: 0.1 s keeps a short round short, and each look costs the SuperLink some work. A site that has waited
    for others for long finds its next order a tenth later than it might have; the one that all wait for does not.

    Args:
        brisk_s: The fewest seconds between two looks.
        idle_s: The most.
    """

    def __init__(self, *, brisk_s: float = 0.1, idle_s: float = 1.0) -> None:
        self._brisk_s = brisk_s
        self._idle_s = idle_s
        self.worked()

    def worked(self) -> None:
        """There was work just now."""
        self._last_work = time.monotonic()

    @property
    def pause_s(self) -> float:
        """How long to wait before the next look."""
        return min(max(SHARE * (time.monotonic() - self._last_work), self._brisk_s), self._idle_s)
