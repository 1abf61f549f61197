"""What a reader hands over, before anything about labels and splits is checked."""

from dataclasses import dataclass

from fedward_core.arrays import Array


@dataclass(frozen=True, kw_only=True)
class BadFile:
    """A file that was skipped. Names stay at the site.

    Attributes:
        name: The file as the table names it.
        reason: Why it cannot be used.
    """

    name: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Reading:
    """One site as it was read; N usable images.

    Attributes:
        images: (N, C, px, px), uint8.
        sizes: (N, 2), height and width before resizing.
        labels: (N,) or (N, px, px) class numbers, or (N, K) zeros and ones; None where there are none.
        classes: Class names of the source; empty where it has none.
        splits: (N,) train, val or test; None where the source has none.
        patients: (N,) names; None where the source has none.
        spacing_mm: Height and width of a pixel before resizing, where known.
        bad: Files that were skipped.
        digest: The SHA-256 of what was read.
    """

    images: Array
    sizes: Array
    labels: Array | None
    classes: tuple[str, ...]
    splits: Array | None
    patients: Array | None
    spacing_mm: tuple[float, ...] | None = None
    bad: tuple[BadFile, ...] = ()
    digest: str
