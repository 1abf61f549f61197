"""Keeps an old attempt of a run away: a site works for the latest attempt that it has seen, and for none before it.

<folder>/attempt.json      the highest attempt so far
"""

import json
from pathlib import Path

from fedward_core.atomic import replacing


class Fence:
    """The fence around one run at one site.

    Args:
        folder: The site's private folder of the run; made when an attempt is first seen.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "attempt.json"

    def admits(self, attempt: int) -> bool:
        """Whether an attempt may work here; a higher one than seen so far shuts out all before it, for good."""
        highest = self._highest()
        if attempt > highest:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(self._path) as temporary:
                temporary.write_text(json.dumps({"attempt": attempt}) + "\n", encoding="utf-8")
        return attempt >= highest

    def _highest(self) -> int:
        if not self._path.exists():
            return 0
        return int(json.loads(self._path.read_text(encoding="utf-8"))["attempt"])
