"""Decoded files on the disk, before they are one array."""

import os
from typing import Any

import numpy as np
import pytest

from fedward_core.arrays import Array
from fedward_models.data.reading.pile import Pile

GRID = (5, 6)


def pile_of(*files: Array) -> Array:
    with Pile(GRID) as pile:
        for pixels in files:
            pile.add(pixels)
        return pile.stack()


def test_files_come_back_in_order_as_grey_or_colour() -> None:
    rng = np.random.default_rng(0)
    grey = rng.integers(0, 256, GRID, dtype=np.uint8)
    colours = [rng.integers(0, 256, (*GRID, 3), dtype=np.uint8) for _ in range(2)]
    assert (pile_of(grey, np.stack([grey] * 3, axis=-1)) == grey).all()
    images = pile_of(colours[0], grey, colours[1])
    assert (images[0] == colours[0].transpose(2, 0, 1)).all()
    assert (images[1] == grey).all()
    assert (images[2] == colours[1].transpose(2, 0, 1)).all()
    assert pile_of().shape == (0, 1, *GRID)


def test_what_is_mapped_lies_on_the_disk_already(monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk fails a write with an error; a page that it does not take kills the process."""
    written: list[bytes] = []
    mapped = np.memmap

    def map_file(file: Any, *arguments: Any, **keywords: Any) -> Array:
        written.append(os.pread(file.fileno(), 10_000, 0))
        return mapped(file, *arguments, **keywords)

    monkeypatch.setattr(np, "memmap", map_file)
    images = pile_of(*np.random.default_rng(0).integers(1, 256, (4, *GRID), dtype=np.uint8))
    assert written == [images.tobytes()]
