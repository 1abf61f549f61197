"""What a site keeps to itself between rounds."""

from dataclasses import dataclass, field
from typing import Any, Protocol

from fedward_core.arrays import Arrays


@dataclass(frozen=True, kw_only=True)
class PrivateEntry:
    """The private state of one site after one round.

    Attributes:
        round: The round after which it was kept.
        parent: The digest of the global weights that the round started from.
        arrays: Private weights under ``weights/``, optimiser moments under ``moments/``, and so on.
        facts: Step counters and the like; JSON values.
        base: Round and parent of the entry that it was made from, where the site had one.
    """

    round: int
    parent: str
    arrays: Arrays
    facts: dict[str, Any] = field(default_factory=dict)
    base: tuple[int, str] | None = None


class PrivateStore(Protocol):
    """Private entries of one site in one stage of one run, each written whole or not at all; the last few are kept."""

    def read(self, round_: int, parent: str) -> PrivateEntry:
        """The entry of that round and parent.

        Raises:
            PrivateStateError: There is none; the server then lets the site join anew.
        """

    def write(self, entry: PrivateEntry) -> None:
        """Keep an entry, and drop the oldest beyond the number that is kept, but not the one that it was made from.

        Raises:
            CheckpointError: The disk is full or not writable; older entries are untouched.
        """
