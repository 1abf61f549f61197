"""Small sites of noise, written where a test wants them."""

import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fedward_core.arrays import Array
from fedward_core.cards import Task
from fedward_core.spec import Dataset

Writer = Callable[..., Path]


@pytest.fixture
def dataset() -> Dataset:
    """A study of three classes at 8 pixels."""
    return Dataset(name="chest", image_px=8, classes=("normal", "pneumonia", "effusion"))


@pytest.fixture
def unnamed() -> Dataset:
    """A study that takes its classes from the sites."""
    return Dataset(name="chest", image_px=8)


@pytest.fixture
def findings() -> Dataset:
    """A multi-label study."""
    return Dataset(name="chest", image_px=8, task=Task.MULTI_LABEL)


@pytest.fixture
def segments() -> Dataset:
    """A segmentation study."""
    return Dataset(name="chest", image_px=8, task=Task.SEGMENTATION)


@pytest.fixture
def write_site(tmp_path: Path) -> Writer:
    """Write ``<site>.npz`` with 24 random images; keywords add arrays, replace them, or leave them out with None."""

    def write(site: str = "north", **changes: Any) -> Path:
        rng = np.random.default_rng(7)
        arrays: dict[str, Any] = {
            "images": rng.integers(0, 256, (24, 8, 8), dtype=np.uint8),
            "labels": np.arange(24) % 3,
            "patient": np.array([f"patient-{index // 2}" for index in range(24)]),
        }
        arrays |= changes
        np.savez(tmp_path / f"{site}.npz", **{key: value for key, value in arrays.items() if value is not None})
        return tmp_path

    return write


@pytest.fixture
def write_table(tmp_path: Path) -> Writer:
    """Write a ``labels.csv`` and grey images for the files that it names, unless they exist."""

    def write(rows: Sequence[dict[str, str]], folder: str = "", images: dict[str, Image.Image] | None = None) -> Path:
        place = tmp_path / folder
        place.mkdir(exist_ok=True)
        for row in rows:
            _save(place / row["file"], (images or {}).get(row["file"]))
        with (place / "labels.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        return tmp_path

    return write


def _save(path: Path, image: Image.Image | None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        (image or Image.fromarray(_gradient())).save(path)


def _gradient() -> Array:
    return np.tile(np.arange(0, 240, 20, dtype=np.uint8), (10, 1))
