"""Frozen weights as they are spoken of."""

from fedward_core.config import Frozen


class Weights(Frozen):
    """One file.

    Attributes:
        sha256: Its digest, 64 hexadecimal digits: how specs name it, and its only name here.
        size_bytes: Its size.
        added_s: When it was added, in seconds since the epoch.
    """

    sha256: str
    size_bytes: int
    added_s: float
