"""What is being sent to whom at the moment: of what takes disk or database while it is sent, a key has only so much."""

from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

from fedward_server.errors import UnavailableError
from fedward_server.keys.models import ApiKey

# Decided here: far more than a person watches; each asks the database four times a second.
MOST_STREAMS = 50
# Decided here: each may take as much disk as the weights of a run, for as long as whoever asked takes to read it.
MOST_DOWNLOADS = 4
# Decided here: as many.
MOST_UPLOADS = 4


@dataclass
class Shares:
    """What each key has of one kind. A thing counts for as long as somebody holds it, however its sending ends.

    Attributes:
        what: The kind, in words.
        most: How many a key may have.
    """

    what: str
    most: int
    _held: WeakKeyDictionary[object, str] = field(default_factory=WeakKeyDictionary)

    def check(self, key: ApiKey) -> None:
        """Make sure that a key may have one more.

        Raises:
            UnavailableError: It has as many as it may.
        """
        if list(self._held.values()).count(key.name) >= self.most:
            raise UnavailableError(f"key '{key.name}' has {self.most} {self.what} already: let one of them end first")

    def hold(self, thing: object, key: ApiKey) -> None:
        """Count a thing for a key."""
        self._held[thing] = key.name
