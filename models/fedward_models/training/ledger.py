"""Figures of every step, kept on the device and read once an epoch, so that no step waits for a number."""

from collections import defaultdict
from collections.abc import Mapping
from math import isfinite

import torch
from torch import Tensor

LOSS = "loss"


class Ledger:
    """Collects figures and gives their means."""

    def __init__(self) -> None:
        self._pending: dict[str, list[Tensor]] = defaultdict(list)
        self._values: dict[str, list[float]] = defaultdict(list)

    @property
    def num_steps(self) -> int:
        """Steps that were read."""
        return len(self._values[LOSS])

    def add(self, loss: Tensor, figures: Mapping[str, Tensor]) -> None:
        """Note a step's loss and figures: detached scalars."""
        self._pending[LOSS].append(loss)
        for name, figure in figures.items():
            self._pending[name].append(figure)

    def read(self) -> int | None:
        """Read what was noted since the last time: the index of the first loss that is not finite, or None."""
        read = {name: torch.stack(tensors).tolist() for name, tensors in self._pending.items()}
        self._pending.clear()
        for name, values in read.items():
            self._values[name].extend(values)
        return next((index for index, loss in enumerate(read.get(LOSS, ())) if not isfinite(loss)), None)

    def means(self) -> dict[str, float]:
        """The mean of each figure over the steps that had it; the loss comes first."""
        return {name: sum(values) / len(values) for name, values in self._values.items() if values}
