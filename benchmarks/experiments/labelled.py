"""What experiments on robustness have in common: labelled steps, training by a spec's settings, figures by image."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from benchmarks.experiments.pretraining import CPU, FASTEST
from fedward_core.spec import Local
from fedward_models.method import Batch, Method
from fedward_models.training.fit import fit
from fedward_models.training.phase import Phase


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """Pixels in [0, 1], (N, C, H, W), with their classes, (N,), and how they are standardised."""

    pixels: Tensor
    labels: Tensor
    mean: float = 0.0
    std: float = 1.0

    def part(self, start: int, stop: int) -> "Labelled":
        """Some of them."""
        return Labelled(pixels=self.pixels[start:stop], labels=self.labels[start:stop], mean=self.mean, std=self.std)

    def batch(self, chosen: Tensor | slice, seed: int = 0) -> Batch:
        """A batch as a loader gives it."""
        images = (self.pixels[chosen] - self.mean) / self.std
        return Batch(images=images, labels=self.labels[chosen], mean=self.mean, std=self.std, seed=seed)


@dataclass(frozen=True, kw_only=True)
class LabelledSteps:
    """So many batches, over freshly shuffled images: one epoch of ``fit``."""

    data: Labelled
    num_steps: int
    batch_size: int

    @property
    def num_examples(self) -> int:
        """Images."""
        return len(self.data.pixels)

    def epoch(self, seed: int) -> Iterator[Batch]:
        """All batches, in an order that depends on the seed alone."""
        rng, left = torch.Generator().manual_seed(seed % 2**63), torch.empty(0, dtype=torch.long)
        for step in range(self.num_steps):
            if len(left) < self.batch_size:
                left = torch.randperm(len(self.data.pixels), generator=rng)
            chosen, left = left[: self.batch_size], left[self.batch_size :]
            yield self.data.batch(chosen, step)


def train(method: Method, steps: LabelledSteps, *, seed: int, local: dict[str, Any]) -> dict[str, float]:
    """Train for one round, on a GPU if there is one, and return to the CPU; the mean figures over all steps."""
    phase = Phase(local=Local.model_validate({"batch_size": steps.batch_size, **local}))
    figures = fit(method, steps, (phase,), round_=0, rounds=1, seed=seed, device=FASTEST).figures
    method.to(CPU)
    return figures


def mean_over(data: Labelled, measure: Callable[[Batch], Tensor], *, batch_size: int = 250) -> float:
    """The mean of a value of each image."""
    parts = [measure(data.batch(slice(at, at + batch_size))) for at in range(0, len(data.pixels), batch_size)]
    return float(torch.cat(parts).float().mean())
