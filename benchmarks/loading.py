"""What does loading cost beside a training step, for images, volumes and clips, and what does opening a site again?"""

import os
import tempfile
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.report import Spread, in_turns, print_table
from fedward_core.cards import DataKind, Split
from fedward_core.spec import Dataset
from fedward_models.data import generate, open_split, site_data
from fedward_models.data.batches.loader import Loader
from fedward_models.data.reading.cache import FOLDER

REPEATS = 5
EXAMPLES = 60
DATASETS = {
    "images 224x224": (Dataset(name="films", image_px=224), 32),
    "volumes 64x64x64": (Dataset(name="heads", kind=DataKind.VOLUME, image_px=64, depth=64), 8),
    "clips 16x112x112": (Dataset(name="hearts", kind=DataKind.CLIP, image_px=112, frames=16), 8),
}
WIDTHS = (16, 32)


def main() -> None:
    """Measure every kind in turn, and print two tables."""
    torch.set_num_threads(1)
    loading, opening = [], []
    with tempfile.TemporaryDirectory() as name:
        os.environ[FOLDER] = str(Path(name) / "cache")
        for what, (dataset, batch_size) in DATASETS.items():
            data = Path(name) / dataset.name
            generate(
                data,
                sites=1,
                images_per_site=EXAMPLES,
                image_px=dataset.image_px,
                kind=dataset.kind,
                depth=dataset.depth or dataset.frames,
            )
            opening.append((what, *opening_times(data, dataset)))
            loading += [(what, *row) for row in loading_rows(data, dataset, batch_size)]
    print_table(
        "Loading beside training",
        ("what", "augmented", "batch", "loader, s a batch", "step, s a batch", "ratio"),
        loading,
        f"One thread; a step is forward, backward and SGD of two convolutions of {WIDTHS} channels, pooled by 4 and 2. "
        f"{REPEATS} repeats in turns, seed 0. Aim: 0.1.",
    )
    print_table(
        "Opening a site",
        ("what", "first time, s", "later, in a new process, s", "later, in the same one, s"),
        opening,
        f"{EXAMPLES} examples in a compressed file. The first time is measured once.",
    )


def loading_rows(data: Path, dataset: Dataset, batch_size: int) -> Iterable[tuple[object, ...]]:
    """Seconds a batch of the loader alone and of a step alone, plain and augmented."""
    images = open_split(data, "north", dataset, Split.TRAIN)
    step = training_step(next(iter(Loader(images, batch_size=batch_size, augment=False).epoch(0))).images)
    step()
    for augment in (False, True):
        loader = Loader(images, batch_size=batch_size, augment=augment)
        seen = in_turns({"loader": partial(batch_seconds, loader), "step": partial(seconds, step)}, REPEATS)
        yield "yes" if augment else "no", batch_size, *seen["loader"].beside(seen["step"])


def batch_seconds(loader: Loader) -> float:
    """Seconds a batch of one epoch."""
    return seconds(partial(exhaust, loader.epoch(0))) / loader.num_steps


def training_step(images: Tensor) -> Callable[[], None]:
    """A small network's step on one batch."""
    torch.manual_seed(0)
    deep = images.ndim == 5
    convolution, pool = (nn.Conv3d, nn.MaxPool3d) if deep else (nn.Conv2d, nn.MaxPool2d)
    first, second = WIDTHS
    model = nn.Sequential(
        *(convolution(images.shape[1], first, 3, padding=1), nn.ReLU(), pool(4)),
        *(convolution(first, second, 3, padding=1), nn.ReLU(), pool(2)),
        *(nn.Flatten(2), Mean(), nn.Linear(second, 3)),
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    labels = torch.arange(len(images)) % 3

    def step() -> None:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images), labels).backward()  # type: ignore[no-untyped-call]  # torch
        optimizer.step()

    return step


class Mean(nn.Module):
    """Over all places."""

    def forward(self, maps: Tensor) -> Tensor:
        """(B, C, places) to (B, C)."""
        return maps.mean(dim=2)


def opening_times(data: Path, dataset: Dataset) -> tuple[object, ...]:
    """Seconds of opening a site that nobody has read, one that another process has read, and one that this has."""

    def once() -> None:
        open_split(data, "north", dataset, Split.TRAIN)

    def as_new_process() -> float:
        site_data.forget()
        return seconds(once)

    first = seconds(once)
    return (
        f"{first:.3g}",
        Spread(tuple(as_new_process() for _ in range(REPEATS))),
        Spread(tuple(seconds(once) for _ in range(REPEATS))),
    )


def seconds(work: Callable[[], Any]) -> float:
    """How long it takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def exhaust(batches: Iterable[object]) -> None:
    """Take every batch, and keep none."""
    for _ in batches:
        pass


if __name__ == "__main__":
    main()
