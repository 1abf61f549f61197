"""Decoded files as they come, kept on disk, so that a site's data may be larger than its memory."""

import tempfile
from math import prod
from typing import Self

import numpy as np
from PIL import Image

from fedward_core.arrays import Array
from fedward_models.data.reading.pixels import is_colour


class Pile:
    """Collects the pixels of a site's files; use it in a ``with`` statement.

    Args:
        grid: (px, px), (D, px, px) or (T, px, px).
    """

    def __init__(self, grid: tuple[int, ...]) -> None:
        self._grid = grid
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed on leaving
        self._channels: list[int] = []
        self._in_colour = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __len__(self) -> int:
        return len(self._channels)

    def add(self, pixels: Array) -> None:
        """Lay one file's pixels on the pile.

        Args:
            pixels: (*grid) grey or (*grid, 3) colour, uint8.
        """
        coloured = pixels.ndim > len(self._grid)
        self._channels.append(3 if coloured else 1)
        self._in_colour += coloured and is_colour(pixels)
        self._file.write(np.ascontiguousarray(pixels).tobytes())

    def stack(self) -> Array:
        """All of them in one array: grey, unless most are colour photographs; the rest is converted.

        Returns:
            (N, C, *grid), uint8, mapped from an unnamed file that vanishes with it.
        """
        mode, channels = ("RGB", 3) if 2 * self._in_colour > len(self) else ("L", 1)
        shape = (len(self), channels, *self._grid)
        if not len(self):
            return np.empty(shape, dtype=np.uint8)
        self._file.seek(0)
        with tempfile.TemporaryFile() as file:
            for stored in self._channels:  # written and then mapped: a full disk fails a write, but kills who maps it
                pixels = self._converted(stored, mode).reshape(*self._grid, channels)
                file.write(np.moveaxis(pixels, -1, 0).tobytes())
            file.flush()
            return np.memmap(file, dtype=np.uint8, mode="r+", shape=shape)

    def _converted(self, channels: int, mode: str) -> Array:
        """The next file's pixels as one tall picture in a mode of Pillow's."""
        *outer, width = self._grid
        content = self._file.read(prod(self._grid) * channels)
        tall = np.frombuffer(content, dtype=np.uint8).reshape(prod(outer), width, channels)
        return np.asarray(Image.fromarray(tall.squeeze(2) if channels == 1 else tall).convert(mode))
