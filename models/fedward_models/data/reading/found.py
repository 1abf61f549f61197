"""What a reader hands over, before anything about labels and splits is checked."""

from dataclasses import dataclass, field
from typing import NamedTuple

from fedward_core.arrays import Array


class UnusableFileError(ValueError):
    """A file that cannot be used; the message is the reason, without the file's name or content."""


@dataclass(frozen=True, kw_only=True)
class BadFile:
    """A file that was skipped. Names stay at the site.

    Attributes:
        name: The file as the table names it.
        reason: Why it cannot be used.
    """

    name: str
    reason: str


class Decoded(NamedTuple):
    """One file on the study's grid.

    Attributes:
        pixels: (*grid) grey or (*grid, 3) colour, uint8; the grid is (px, px), (D, px, px) or (T, px, px).
        size: Height and width before resizing; slices or frames come first.
        spacing_mm: Depth, height and width of a voxel before resampling, where known.
        affine: (4, 4), of a volume from slice, row and column before resampling to millimetres towards right, front
            and head, where known.
    """

    pixels: Array
    size: tuple[int, ...]
    spacing_mm: tuple[float, ...] | None = None
    affine: Array | None = None


@dataclass(frozen=True, kw_only=True)
class Reading:
    """One site as it was read; N usable examples.

    Attributes:
        images: (N, C, *grid), uint8; the grid is (px, px), (D, px, px) or (T, px, px).
        sizes: (N, 2), height and width before resizing; (N, 3) with slices or frames first for volumes and clips.
        labels: (N,), (N, px, px) or (N, D, px, px) class numbers, or (N, K) zeros and ones; None where there are none.
        classes: Class names of the source; empty where it has none.
        splits: (N,) train, val or test; None where the source has none.
        patients: (N,) names; None where the source has none.
        names: (N,), the file that a table lists, or the id in an ``.npz``; None where the source has none.
        reports: (N,) texts; None where the study reads none.
        spacings_mm: (N, 3), depth, height and width of a voxel before resampling, NaN where not known; None for images
            and clips.
        bad: Files that were skipped.
        digest: The SHA-256 of what was read.
    """

    images: Array
    sizes: Array
    labels: Array | None
    classes: tuple[str, ...]
    splits: Array | None
    patients: Array | None
    names: Array | None = None
    reports: tuple[str, ...] | None = field(default=None, repr=False)
    spacings_mm: Array | None = None
    bad: tuple[BadFile, ...] = ()
    digest: str
