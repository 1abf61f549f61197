"""What published code computed, as arrays by name: groups of them, their names in our networks, and what is near."""

from collections.abc import Mapping

import torch
from torch import Tensor


def arrays_under(reference: Mapping[str, Tensor], group: str) -> dict[str, Tensor]:
    """The arrays whose names begin with a group's, without that."""
    return {name.removeprefix(group): tensor for name, tensor in reference.items() if name.startswith(group)}


def renamed(parts: Mapping[str, str], name: str) -> str:
    """A published name with the first start that fits replaced, by a table of starts."""
    start = next(start for start in parts if name.startswith(start))
    return parts[start] + name.removeprefix(start)


def assert_near(found: Tensor, expected: Tensor, tolerance: float = 1e-5) -> None:
    torch.testing.assert_close(found, expected, atol=tolerance, rtol=0)


def assert_near_in_scale(found: Tensor, expected: Tensor, tolerance: float = 1e-5) -> None:
    """The same, where the tolerance is a part of the largest value above 1."""
    assert_near(found, expected, tolerance * max(float(expected.abs().max()), 1.0))
