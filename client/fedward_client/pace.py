"""How long to wait between two looks for work: briefly while there is some, longer otherwise."""

import time


class Pace:
    """Waits briefly while a run is active, which it is taken to be for a while after each piece of work.

    Decided here: 0.1 s keeps a round short, and each look costs the SuperLink some work; a minute without
    work means that the run is over or that a site trains for long, and 1 s does.

    Args:
        brisk_s: Seconds between two looks while a run is active.
        idle_s: Seconds between two looks otherwise.
        active_s: How long after a piece of work the run counts as active.
    """

    def __init__(self, *, brisk_s: float = 0.1, idle_s: float = 1.0, active_s: float = 60.0) -> None:
        self._brisk_s = brisk_s
        self._idle_s = idle_s
        self._active_s = active_s
        self.worked()

    def worked(self) -> None:
        """There was work just now."""
        self._active_until = time.monotonic() + self._active_s

    @property
    def pause_s(self) -> float:
        """How long to wait before the next look."""
        return self._brisk_s if time.monotonic() < self._active_until else self._idle_s
