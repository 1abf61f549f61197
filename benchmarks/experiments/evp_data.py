"""What prompts are tried on: a source that a network is trained on, and a target that looks different."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.experiments import pretraining
from benchmarks.experiments.labelled import Labelled, digits

LABORATORIES = ("cellavision", "jiangxi_tecom")
CELL_PX = 48


def disturbed(pixels: Tensor, canvas_px: int, rng: torch.Generator) -> Tensor:
    """One size and place for a batch, noise of 0.1, and a quarter of the images with half of the contrast inverted."""
    side = int(torch.randint(round(canvas_px * 14 / 24), canvas_px + 1, (), generator=rng))
    left, top = (int(torch.randint(canvas_px - side + 1, (), generator=rng)) for _ in range(2))
    small = functional.interpolate(pixels, size=(side, side), mode="bilinear", antialias=True)
    inverted = torch.rand(len(pixels), 1, 1, 1, generator=rng) < 0.25
    small = torch.where(inverted, 0.75 - 0.5 * small, small)
    canvas = functional.pad(small, (left, canvas_px - side - left, top, canvas_px - side - top))
    return canvas + 0.1 * torch.randn(canvas.shape, generator=rng)


def shifted_digits() -> tuple[Labelled, Labelled, Labelled, Labelled]:
    """scikit-learn's digits at 24 pixels, then the same inverted in part along a ramp: train and test of each."""
    source = digits(24)
    target = replace(source, pixels=0.55 + 0.35 * source.pixels - 0.5 * torch.linspace(0, 1, 24) * source.pixels)
    return source.part(0, 1300), source.part(1300, 1797), target.part(0, 1300), target.part(1300, 1797)


def blood_cells(folder: Path, *laboratories: str) -> tuple[Labelled, Labelled]:
    """White blood cells at 48 pixels of some laboratories, without basophils: train and test."""
    found = [_laboratory(folder / f"{name}.npz") for name in laboratories]
    train, test = (
        Labelled(
            pixels=torch.cat([part.pixels for part in parts]),
            labels=torch.cat([part.labels for part in parts]),
        )
        for parts in zip(*found, strict=True)
    )
    return train, test


def objects(folder: Path, *, train: int = 4000, test: int = 1000) -> tuple[Labelled, Labelled]:
    """The first of CIFAR-10's images, enlarged to 48 pixels: train and test."""
    return _enlarged(folder / "train.npz", train), _enlarged(folder / "test.npz", test)


def _enlarged(path: Path, count: int) -> Labelled:
    found = pretraining.read(path, count)
    pixels = found.images * pretraining.STD + pretraining.MEAN
    return Labelled(
        pixels=functional.interpolate(pixels, size=CELL_PX, mode="bilinear", align_corners=False), labels=found.labels
    )


def _laboratory(path: Path) -> tuple[Labelled, Labelled]:
    with np.load(path, allow_pickle=False) as file:
        images, labels, split = file["images"], file["labels"], file["split"]
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    small = functional.interpolate(pixels, size=CELL_PX, mode="bilinear", antialias=True)
    kept = labels < 4  # the sets hold one to three basophils
    train, test = (torch.from_numpy(np.flatnonzero(kept & (split == part))) for part in ("train", "test"))
    known = torch.from_numpy(labels).long()
    return (
        Labelled(pixels=small[train], labels=known[train]),
        Labelled(pixels=small[test], labels=known[test]),
    )
