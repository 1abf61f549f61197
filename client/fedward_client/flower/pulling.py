"""Asks soon again for a piece of a message that is still on its way; Flower waits 1 s, then 2 s, and at most 10 s."""

from functools import partial
from types import ModuleType

# Decided here: a small message is whole within milliseconds, and a look at a large one every second costs little.
PAUSES = {"initial_backoff": 0.05, "backoff_cap": 1.0, "max_tries_per_object": None}


def ask_again_soon(module: ModuleType, name: str) -> None:
    """Give a function of Flower that pulls pieces other pauses, where a module of Flower calls it by a name."""
    vars(module)[name] = partial(vars(module)[name], **PAUSES)
