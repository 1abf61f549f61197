"""How far this machine's clock is from another one's, by an answer that tells the time."""

from email.utils import parsedate_to_datetime


def ahead_s(told: str, *, asked_s: float, heard_s: float) -> float:
    """By how many seconds at least this clock is ahead; below 0 where it is behind.

    The other told its time between question and answer, so that a slow answer is no clock that is off.

    Args:
        told: The other's time, as the header ``Date`` of HTTP has it.
        asked_s: This clock, in seconds since the epoch, when the question went out.
        heard_s: This clock when the answer was there.

    Raises:
        ValueError: ``told`` is no such time.
    """
    told_s = parsedate_to_datetime(told).timestamp()
    return max(asked_s - told_s, 0.0) or min(heard_s - told_s, 0.0)
