"""Training for so many steps instead of epochs, over whatever gives a batch of chosen examples."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor

from fedward_core.spec import Local
from fedward_models.batch import Batch
from fedward_models.method import Method
from fedward_models.training.fit import fit
from fedward_models.training.phase import Phase

CPU = torch.device("cpu")
FASTEST = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class Examples(Protocol):
    """What is trained on."""

    def __len__(self) -> int:
        """How many."""

    def batch(self, chosen: Tensor) -> Batch:
        """Some of them, by number, as a loader gives them."""


@dataclass(frozen=True, kw_only=True)
class Steps:
    """So many batches, over freshly shuffled examples: one epoch of ``fit``."""

    data: Examples
    num_steps: int
    batch_size: int

    @property
    def num_examples(self) -> int:
        """Examples."""
        return len(self.data)

    def epoch(self, seed: int) -> Iterator[Batch]:
        """All batches, in an order that depends on the seed alone."""
        rng, left = torch.Generator().manual_seed(seed % 2**63), torch.empty(0, dtype=torch.long)
        for step in range(self.num_steps):
            if len(left) < self.batch_size:
                left = torch.randperm(self.num_examples, generator=rng)
            chosen, left = left[: self.batch_size], left[self.batch_size :]
            yield replace(self.data.batch(chosen), seed=step)


def train(method: Method, steps: Steps, *, seed: int, local: dict[str, Any]) -> dict[str, float]:
    """Train for one round, on a GPU if there is one, and return to the CPU; the mean figures over all steps.

    Args:
        method: What is trained.
        steps: On what, and for how long.
        seed: Orders the examples, and seeds what is drawn.
        local: A spec's settings of training, but for the size of a batch.
    """
    phase = Phase(local=Local.model_validate({"batch_size": steps.batch_size, **local}))
    figures = fit(method, steps, (phase,), round_=0, rounds=1, seed=seed, device=FASTEST).figures
    method.to(CPU)
    return figures
