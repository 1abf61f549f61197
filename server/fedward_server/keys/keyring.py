"""Remembers keys that were recognised, so that a thousand agents do not each ask the database every few seconds."""

import time
from dataclasses import dataclass, field

from fedward_server.database.database import Database
from fedward_server.keys.models import ApiKey
from fedward_server.keys.service import digest_of, recognise

# Only this process takes keys back, and then forgets them; the limit is for what is changed in the database by hand.
KNOWN_S = 10.0


@dataclass
class Keyring:
    """Keys that were recognised lately."""

    _known: dict[str, tuple[ApiKey, float]] = field(default_factory=dict)
    _changes: int = 0

    async def recognise(self, database: Database, key: str) -> ApiKey:
        """The key that somebody shows.

        Raises:
            UnauthorizedError: There is no such key.
        """
        digest = digest_of(key)
        known, until_s = self._known.get(digest, (None, 0.0))
        if known is not None and time.monotonic() < until_s:
            return known
        changes = self._changes
        async with database.reading() as session:
            found = await recognise(session, key)
        if changes == self._changes:  # else a key was taken back while the database was read, perhaps this one
            self._known[digest] = (found, time.monotonic() + KNOWN_S)
        return found

    def forget(self) -> None:
        """Forget all: called once a key was taken back."""
        self._changes += 1
        self._known.clear()
