"""Moments for people."""

from datetime import UTC, datetime


def in_utc(seconds: float) -> str:
    """E.g. ``2026-11-26 19:30 UTC``: hospitals and their coordinator may stand in several time zones.

    Args:
        seconds: Since 1970.
    """
    return datetime.fromtimestamp(seconds, tz=UTC).strftime("%Y-%m-%d %H:%M UTC")
