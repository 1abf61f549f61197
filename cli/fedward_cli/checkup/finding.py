"""One thing that was looked at, and what was found."""

from enum import StrEnum

from fedward_core.config import Frozen


class State(StrEnum):
    """How well it is."""

    WELL = "well"
    WARNING = "warning"  # a run works, and somebody should know
    FAULT = "fault"  # a run would not work


class Finding(Frozen):
    """One finding.

    Attributes:
        about: What was looked at.
        state: How well it is.
        words: What was found, and where it is not well, what to do.
    """

    about: str
    state: State
    words: str


def well(about: str, words: str) -> Finding:
    """All is well."""
    return Finding(about=about, state=State.WELL, words=words)


def warning(about: str, words: str) -> Finding:
    """A run works, and somebody should know."""
    return Finding(about=about, state=State.WARNING, words=words)


def fault(about: str, words: str) -> Finding:
    """A run would not work."""
    return Finding(about=about, state=State.FAULT, words=words)
