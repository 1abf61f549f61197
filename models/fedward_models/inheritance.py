"""What a stage takes over from the one before: entries of its state, by name."""

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from torch import Tensor

from fedward_core.errors import CheckpointError

if TYPE_CHECKING:
    from fedward_models.method import Method


@dataclass(frozen=True, kw_only=True)
class Inheritance:
    """What a stage took over from the one before; every name of the new state is in exactly one of the first three.

    Attributes:
        taken: Entries equal to the source's, bit for bit.
        cloned: Entries made from one of the source's, e.g. a table copied into each block.
        new: Entries that start anew.
        dropped: Entries of the source that have no place here.
    """

    taken: tuple[str, ...] = ()
    cloned: tuple[str, ...] = ()
    new: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, method: "Method", state: Mapping[str, Tensor], *, taken: tuple[str, ...] = (), cloned: tuple[str, ...] = ()
    ) -> Self:
        """What was neither taken nor cloned is new in the method, and dropped from the previous stage's state."""
        known = {*taken, *cloned}
        return cls(
            taken=taken,
            cloned=cloned,
            new=tuple(name for name in method.state_dict() if name not in known),
            dropped=tuple(name for name in state if name not in known),
        )


def take_over(method: "Method", state: Mapping[str, Tensor], names: Iterable[str]) -> tuple[str, ...]:
    """Copy entries of the previous stage's state into a method, bit for bit.

    Args:
        method: What receives them; untouched if anything is wrong.
        state: The previous stage's state dict.
        names: Which entries.

    Returns:
        The names.

    Raises:
        CheckpointError: An entry is missing or has another shape.
    """
    own, names = method.state_dict(), tuple(names)
    for name in names:
        expected, found = own[name].shape, state[name].shape if name in state else None
        if found != expected:
            raise CheckpointError(
                f"cannot go on from the previous stage: expected '{name}' of shape {tuple(expected)}, found "
                f"{'nothing' if found is None else tuple(found)}. Use the checkpoint of a stage with the same backbone"
            )
    method.load_state_dict({name: state[name] for name in names}, strict=False)
    return names


def pooling_anew(method: "Method", known: Container[str]) -> frozenset[str]:
    """Entries that serve pooled features only and that the previous stage has none of: they stay as they are built.

    Args:
        method: What takes over from the previous stage.
        known: Names in that stage's state.
    """
    modules = tuple(f"backbone.{module}." for module in method.backbone.pooled)
    return frozenset(name for name in method.state_dict() if name.startswith(modules) and name not in known)
