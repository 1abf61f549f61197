"""How a frozen classifier is read: its features, and its pixels' standard, must be those that it was trained with."""

from typing import Any

from fedward_core.errors import CheckpointError, SpecError
from fedward_models.frozen import FrozenWeights
from fedward_models.method import Method
from fedward_models.towers.noted import reads_class_token, standard_of_training

_NOT_POOLED = (
    "evp reads pooled features, and the classifier of {} was trained on the class token: probe again with features: "
    "pooled"
)
_STANDARD = (
    "the network of {} was trained on pixels of the standard '{}', and evp would show it those of '{}': set "
    "normalisation: {}"
)


def check_noted(weights: FrozenWeights, *, normalisation: str) -> None:
    """Make sure that a file which Fedward wrote is read as it was trained; other files note nothing.

    Raises:
        CheckpointError: Its head reads the class token, or pixels of another standard.
    """
    if reads_class_token(weights):
        raise CheckpointError(_NOT_POOLED.format(f"'{weights.name}'"))
    standard = standard_of_training(weights)
    if standard not in {None, normalisation}:
        raise CheckpointError(_STANDARD.format(f"'{weights.name}'", standard, normalisation, standard))


def check_previous(method: Method, source: Method, *, with_head: bool) -> None:
    """Make sure that the stage before is read as it was trained.

    Args:
        method: What freezes it.
        source: That stage.
        with_head: Whether its classifier is frozen too.

    Raises:
        SpecError: Its head reads the class token, or its network pixels of another standard.
    """
    if with_head and source.head_features != "pooled":
        raise SpecError(_NOT_POOLED.format("the previous stage"))
    if source.normalisation != method.normalisation:
        found: tuple[Any, ...] = (source.normalisation, method.normalisation, source.normalisation)
        raise SpecError(_STANDARD.format("the previous stage", *found))
