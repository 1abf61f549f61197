"""Which numbers travel and which stay: a list of rules over the names of a state.

    state  --split-->  shared (compact slices)  +  private (the rest)
    state  <--merge--  shared                   +  private             merge(*split(state)) == state, bit for bit

A rule marks whole tensors, or cuts channels out of them as :mod:`fedward_core.channel_cut` says.
"""

import re
from collections.abc import Iterable
from enum import StrEnum
from fractions import Fraction
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from fedward_core.arrays import Array, Arrays
from fedward_core.channel_cut import Cut, compact_shape
from fedward_core.config import Frozen
from fedward_core.errors import SpecError, UpdateError
from fedward_core.manifest import Entry, Kind, Manifest


class Role(StrEnum):
    """What becomes of an entry."""

    SHARED = "shared"  # travels every round
    PRIVATE = "private"  # never leaves the site once trained there
    FROZEN = "frozen"  # fetched once by digest, never trained: in neither half


class Rule(Frozen):
    """Gives the entries whose whole name matches ``pattern`` a role, or cuts them by channel.

    Attributes:
        pattern: A regular expression over state names; the first rule that matches decides.
        role: The role; with ``cuts``, the role of private channels.
        cuts: One for each group of channels that runs through the tensor; their shared parts are intersected.
    """

    pattern: str
    role: Role
    cuts: tuple[Cut, ...] = ()


class Partition:
    """Rules applied to one manifest at one private share.

    Args:
        manifest: The state that is split.
        rules: Tried in order; an entry that no rule matches is an error. Counters are private whatever the rules say.
        share: The part of each cut axis that is private, in [0, 1]. At 1 everything is private, at 0 no channel is.

    Raises:
        SpecError: An entry that no rule names, or a cut that does not fit its tensor.
    """

    def __init__(self, manifest: Manifest, rules: Iterable[Rule], *, share: Fraction = Fraction(0)) -> None:
        self.manifest = manifest
        self.rules = tuple(rules)
        self.share = share
        self._rules = {entry.name: self._rule_of(entry) for entry in manifest.entries}
        for entry in manifest.entries:
            for cut in self._rules[entry.name].cuts:
                cut.check(entry)

    def at(self, share: Fraction) -> "Partition":
        """The same rules at another private share."""
        return self if share == self.share else Partition(self.manifest, self.rules, share=share)

    @cached_property
    def shared_manifest(self) -> Manifest:
        """What travels: names, compact shapes, types, kinds."""
        shapes = {name: array.shape for name, array in self.split(self._ghost())[0].items()}
        entries = [e.model_copy(update={"shape": shapes[e.name]}) for e in self.manifest.entries if e.name in shapes]
        return Manifest(entries=tuple(entries))

    def split(self, state: Arrays) -> tuple[dict[str, Array], dict[str, Array]]:
        """Cut a state in two.

        Args:
            state: Every entry of the manifest, frozen ones optional.

        Returns:
            Shared entries as compact slices, and private entries: whole, or flat where only some channels are private.
        """
        shared: dict[str, Array] = {}
        private: dict[str, Array] = {}
        for entry in self.manifest.entries:
            role, mask = self._fates[entry.name]
            if role is Role.SHARED:
                shared[entry.name] = state[entry.name]
            elif role is Role.PRIVATE and mask is None:
                private[entry.name] = state[entry.name]
            elif mask is not None:
                whole = np.asarray(state[entry.name])
                shared[entry.name] = whole[mask].reshape(compact_shape(mask))
                private[entry.name] = whole[~mask]
        return shared, private

    def merge(self, shared: Arrays, private: Arrays) -> dict[str, Array]:
        """Put a state together again.

        Raises:
            UpdateError: A half lacks an entry, has one too many, or has one of another shape.
        """
        state: dict[str, Array] = {}
        for entry in self.manifest.entries:
            role, mask = self._fates[entry.name]
            if role is Role.SHARED:
                state[entry.name] = _taken(shared, entry.name, entry.shape)
            elif role is Role.PRIVATE and mask is None:
                state[entry.name] = _taken(private, entry.name, entry.shape)
            elif mask is not None:
                whole = np.empty(entry.shape, np.dtype(entry.dtype))
                whole[mask] = _taken(shared, entry.name, compact_shape(mask)).reshape(-1)
                whole[~mask] = _taken(private, entry.name, (int(mask.size - mask.sum()),))
                state[entry.name] = whole
        self._refuse_unexpected(shared, Role.SHARED)
        self._refuse_unexpected(private, Role.PRIVATE)
        return state

    def whole(self, state: Arrays) -> dict[str, Array]:
        """Check a complete state, as a site that joins receives it.

        Raises:
            UpdateError: An entry is missing, has another shape, or is not of this model.
        """
        everything = Partition(self.manifest, (Rule(pattern=r".*", role=Role.SHARED),))
        counters = {name: state[name] for name in self.manifest.names(Kind.COUNTER) if name in state}
        return everything.merge({name: array for name, array in state.items() if name not in counters}, counters)

    @property
    def has_private(self) -> bool:
        """Whether anything stays at the site."""
        return any(role is Role.PRIVATE or mask is not None for role, mask in self._fates.values())

    def role(self, name: str) -> Role:
        """The role of an entry; of one that is cut, ``SHARED`` (some of it travels)."""
        role, mask = self._fates[name]
        return Role.SHARED if mask is not None else role

    def shared_mask(self, name: str) -> NDArray[np.bool_] | None:
        """Where an entry is shared, for one that is cut; None for one that is whole."""
        return self._fates[name][1]

    def crossing_mask(self, name: str) -> NDArray[np.bool_] | None:
        """Where a weight leads from a shared channel to a private one or back; None where nothing does.

        Only an entry that several cuts run through has such places.
        """
        cuts = self._rules[name].cuts
        if len(cuts) < 2:
            return None
        shape = next(entry.shape for entry in self.manifest.entries if entry.name == name)
        sides = [cut.shared_mask(shape, self.share) for cut in cuts]
        mask: NDArray[np.bool_] = np.any(sides, axis=0) & ~np.all(sides, axis=0)
        return mask if mask.any() else None

    def _refuse_unexpected(self, half: Arrays, role: Role) -> None:
        for name in half:
            fate, mask = self._fates.get(name, (None, None))
            if fate is not role and mask is None:
                raise UpdateError(f"unexpected entry '{name}': it has no {role} part in this partition")

    def _rule_of(self, entry: Entry) -> Rule:
        for rule in self.rules:
            if re.fullmatch(rule.pattern, entry.name):
                return rule
        raise SpecError(
            f"no rule says whether '{entry.name}' is shared, private or frozen: add one to the method's rules"
        )

    @cached_property
    def _fates(self) -> dict[str, tuple[Role, NDArray[np.bool_] | None]]:
        return {entry.name: self._decide(entry) for entry in self.manifest.entries}

    def _decide(self, entry: Entry) -> tuple[Role, NDArray[np.bool_] | None]:
        rule = self._rules[entry.name]
        if rule.role is Role.FROZEN:
            return Role.FROZEN, None
        if entry.kind is Kind.COUNTER or self.share == 1:
            return Role.PRIVATE, None
        if not rule.cuts:
            return rule.role, None
        mask = np.ones(entry.shape, bool)
        for cut in rule.cuts:
            mask &= cut.shared_mask(entry.shape, self.share)
        return (Role.SHARED, None) if mask.all() else (rule.role, mask)

    def _ghost(self) -> dict[str, Array]:
        """Arrays of the right shapes that take no memory."""
        return {e.name: np.broadcast_to(np.zeros((), np.dtype(e.dtype)), e.shape) for e in self.manifest.entries}


def _taken(arrays: Arrays, name: str, shape: tuple[int, ...]) -> Array:
    if name not in arrays:
        raise UpdateError(f"entry '{name}' is missing: expected shape {shape}")
    array = arrays[name]
    if array.shape != shape:
        raise UpdateError(f"entry '{name}' has shape {array.shape}, expected {shape}")
    return array
