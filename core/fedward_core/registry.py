"""Names for everything that a spec can choose, without importing any of it.

A name leads to a configuration class through an entry point of an installed package (group ``fedward.<kind>``), and the
configuration class leads to its implementation. So the coordinator can check every key of a spec without torch, and a
hospital's own package can add a method without a change here.
"""

import difflib
import importlib
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from fedward_core.errors import SpecError


def names(kind: str) -> tuple[str, ...]:
    """The registered names of a kind, e.g. ``"methods"``, in alphabetical order."""
    return tuple(sorted(_entries(kind)))


def resolve(kind: str, name: str) -> Any:
    """Import what a name of a kind stands for.

    Raises:
        SpecError: No such name; the message lists the nearest one and all others. Or two installed packages offer it,
            and neither may hide the other.
    """
    entries = _entries(kind).get(name, ())
    if not entries:
        raise SpecError(unknown(f"{kind.rstrip('s')} '{name}'", name, names(kind)))
    if len(entries) > 1:
        packages = ", ".join(sorted(entry.dist.name for entry in entries if entry.dist))
        raise SpecError(
            f"several installed packages offer the {kind.rstrip('s')} '{name}': {packages}. Remove all of them but one"
        )
    return entries[0].load()


def load(reference: str) -> Any:
    """Import ``"module:Name"``."""
    module, _, name = reference.partition(":")
    return getattr(importlib.import_module(module), name)


def unknown(what: str, name: str, known: tuple[str, ...]) -> str:
    """The sentence for a name that does not exist: what was found, the nearest one, and all that are known."""
    nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    suggestion = f" Did you mean '{nearest[0]}'?" if nearest else ""
    return f"unknown {what}.{suggestion} Known: {', '.join(known) or 'none'}."


@cache
def _entries(kind: str) -> dict[str, list[EntryPoint]]:
    found: dict[str, list[EntryPoint]] = {}
    for entry in entry_points(group=f"fedward.{kind}"):
        found.setdefault(entry.name, []).append(entry)
    return found
