"""What a site sends back after a round."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from fedward_core.arrays import Arrays
from fedward_core.errors import UpdateError
from fedward_core.manifest import Manifest

SHARED = "shared"


@dataclass(frozen=True, kw_only=True)
class Update:
    """One contribution to one round.

    Attributes:
        site: Who contributes.
        round: The round that the site was asked for.
        parent: The digest of the global weights that it started from.
        num_examples: Images it trained on: its weight in the average.
        num_steps: Optimiser steps it made.
        groups: Named groups of arrays; ``shared`` holds the shared part of the model, algorithms may add their own.
        metrics: Training figures, e.g. the mean loss. Numbers only.
    """

    site: str
    round: int
    parent: str
    num_examples: int
    num_steps: int
    groups: Mapping[str, Arrays]
    metrics: Mapping[str, float] = field(default_factory=dict)

    @property
    def shared(self) -> Arrays:
        """The shared part of the model."""
        return self.groups[SHARED]

    def with_shared(self, shared: Arrays) -> "Update":
        """The same update with other shared arrays."""
        return replace(self, groups={**self.groups, SHARED: shared})


def check_update(update: Update, expected: Manifest, *, round_: int, parent: str) -> None:
    """Refuse an update whose shared part cannot be averaged; other groups are for whoever reads them.

    Raises:
        UpdateError: Another round or parent, no examples, no shared part, a name, shape or type in it that was not
            asked for, or values that are not finite.
    """
    if update.round != round_:
        raise UpdateError(f"the update answers another round: expected round {round_}, found round {update.round}")
    if update.parent != parent:
        raise UpdateError(
            f"the update rests on other weights: expected digest {parent[:12]}, found {update.parent[:12] or 'none'}"
        )
    if update.num_examples <= 0:
        raise UpdateError(f"the update rests on {update.num_examples} images: expected at least one")
    if SHARED not in update.groups:
        raise UpdateError(f"the update has no group '{SHARED}': found {', '.join(update.groups) or 'none'}")
    check_form(update.shared, expected)
    for name, array in update.shared.items():
        if not np.isfinite(array).all():
            raise UpdateError(f"'{name}' holds values that are not finite: training diverged at this site")


def check_form(arrays: Arrays, expected: Manifest) -> None:
    """Refuse arrays that are not what a manifest says.

    Raises:
        UpdateError: A name is missing, or a name, shape or type was not asked for.
    """
    entries = {entry.name: entry for entry in expected.entries}
    missing, unexpected = entries.keys() - arrays.keys(), arrays.keys() - entries.keys()
    if missing or unexpected:
        raise UpdateError(f"expected {len(entries)} arrays: {_some(missing)} missing, {_some(unexpected)} unexpected")
    for name, entry in entries.items():
        array = arrays[name]
        if array.shape != entry.shape or array.dtype != np.dtype(entry.dtype):
            raise UpdateError(
                f"'{name}' is {array.dtype} {array.shape}, expected {np.dtype(entry.dtype)} {entry.shape}"
            )


def _some(names: set[str]) -> str:
    if not names:
        return "none"
    shown = ", ".join(f"'{name}'" for name in sorted(names)[:3])
    return f"{shown} and {len(names) - 3} more" if len(names) > 3 else shown
