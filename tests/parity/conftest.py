"""Weights of full-size networks that follow a rule instead of being stored."""

from collections.abc import Callable, Mapping

import numpy as np
import pytest
import torch
from torch import Tensor

Fill = Callable[[Mapping[str, tuple[int, ...]], tuple[int, ...]], tuple[dict[str, Tensor], Tensor]]


@pytest.fixture
def hash_filled() -> Fill:
    """Fill the floating-point entries of a state, by their published names, and an input.

    Entries are numbered from 0 in alphabetical order; the input has the number -1.
    """

    def fill(shapes: Mapping[str, tuple[int, ...]], input_shape: tuple[int, ...]) -> tuple[dict[str, Tensor], Tensor]:
        state = {name: _entry(name, shapes[name], number) for number, name in enumerate(sorted(shapes))}
        return state, torch.from_numpy(_uniform(input_shape, -1).astype(np.float32))

    return fill


def _entry(name: str, shape: tuple[int, ...], number: int) -> Tensor:
    r = _uniform(shape, number)
    if name.endswith("running_var"):
        r = 1 + 0.2 * r
    elif name.endswith("running_mean") or (len(shape) <= 1 and not name.endswith("weight")):
        r = 0.1 * r
    elif len(shape) == 1:
        r = 1 + 0.2 * r
    else:
        r = r * np.sqrt(3 / (r.size / shape[0]))
    return torch.from_numpy(np.asarray(r, np.float32))


def _uniform(shape: tuple[int, ...], number: int) -> np.ndarray:
    """In [-1, 1), by a hash of the place and the entry's number, in 32 bits."""
    places = np.arange(1, int(np.prod(shape)) + 1, dtype=np.uint32)
    z = places * np.uint32(2654435761) + np.uint32((number + 1) * 2246822519 % 2**32)
    z = (z ^ (z >> np.uint32(15))) * np.uint32(2246822519)
    z = (z ^ (z >> np.uint32(13))) * np.uint32(3266489917)
    z ^= z >> np.uint32(16)
    return (z / 2**31 - 1).reshape(shape)
