"""A tiny network with drop-path, and data that is made on the spot."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from fedward_core.cards import Contract
from fedward_models.backbones.vit.config import ViTConfig
from fedward_models.batch import Batch
from fedward_models.method import Method
from fedward_models.methods.supervised.config import SupervisedConfig


@dataclass(frozen=True, kw_only=True)
class ToyLoader:
    """Images in memory, in batches of four."""

    images: Tensor
    labels: Tensor | None
    patients: tuple[str, ...]

    @property
    def num_examples(self) -> int:
        return len(self.images)

    @property
    def num_steps(self) -> int:
        return max(len(self.images) // 4, 1)

    def epoch(self, seed: int) -> Iterator[Batch]:
        order = torch.randperm(len(self.images), generator=torch.Generator().manual_seed(seed))
        for step in range(self.num_steps):
            yield self._batch(order[4 * step : 4 * step + 4], seed=seed + step)

    def in_order(self, batch_size: int) -> Iterator[Batch]:
        for start in range(0, len(self.images), batch_size):
            yield self._batch(torch.arange(len(self.images))[start : start + batch_size], seed=0)

    def _batch(self, chosen: Tensor, *, seed: int) -> Batch:
        labels = None if self.labels is None else self.labels[chosen]
        return Batch(images=self.images[chosen], labels=labels, seed=seed)


MakeLoader = Callable[..., ToyLoader]
MakeMethod = Callable[..., Method]


@pytest.fixture
def make_loader() -> MakeLoader:
    def make(size: int = 14, *, labelled: bool = True) -> ToyLoader:
        rng = torch.Generator().manual_seed(3)
        return ToyLoader(
            images=torch.randn(size, 1, 8, 8, generator=rng),
            labels=torch.randint(3, (size,), generator=rng) if labelled else None,
            patients=tuple(f"patient {index // 2}" for index in range(size)),
        )

    return make


@pytest.fixture
def make_method() -> MakeMethod:
    """A classifier for three classes, the same at every call; its second block is skipped half of the time."""

    def make() -> Method:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            config = ViTConfig(width=8, depth=2, heads=2, mlp_ratio=2, patch_px=4, drop_path=0.5)
            backbone = config.build(image_px=8, channels=1)
            method: Method = SupervisedConfig().build(backbone=backbone, contract=Contract(classes=("a", "b", "c")))
        return method

    return make
