"""One site's data, read, resized and checked, without torch. Cards, inspection and image sets are made of it."""

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from fedward_core.arrays import Array
from fedward_core.cards import Contract, Split
from fedward_core.errors import DataError
from fedward_core.seeds import derive_seed
from fedward_core.spec import Dataset
from fedward_models.data.image_folder import read_folder
from fedward_models.data.labels import check_labels, counted_classes, name_classes
from fedward_models.data.npz_file import read_npz
from fedward_models.data.reading import BadFile, Reading
from fedward_models.data.source import TABLE, Source, locate
from fedward_models.data.splits import deal_splits

MAX_BAD = 0.05  # decided here: the part of a site's files that may be unusable
CACHED_SITES = 16  # decided here: sites kept in memory by a process


@dataclass(frozen=True, kw_only=True)
class SiteData:
    """One site's usable images; N of them, in the order of the source.

    Attributes:
        site: The site.
        contract: What a study compares.
        images: (N, C, px, px), uint8.
        sizes: (N, 2), height and width before resizing.
        labels: (N,) int64, (N, K) float32 or (N, px, px) int64; None where there are none.
        splits: (N,) train, val or test.
        patients: (N,) names; they stay at the site.
        spacing_mm: Height and width of a pixel before resizing, where known.
        bad: Files that were skipped; they stay at the site.
        digest: The SHA-256 of what was read.
    """

    site: str
    contract: Contract
    images: Array
    sizes: Array
    labels: Array | None
    splits: Array
    patients: Array
    spacing_mm: tuple[float, ...] | None
    bad: tuple[BadFile, ...]
    digest: str

    def indices(self, split: Split) -> Array:
        """The images of a split."""
        return np.flatnonzero(self.splits == split)

    def classes_of(self, indices: Array) -> Array:
        """(len(indices), K) booleans, the classes of each image; K is 0 without labels."""
        if self.labels is None:
            return np.zeros((len(indices), 0), dtype=bool)
        return counted_classes(self.labels[indices], len(self.contract.classes))


def read_site(data: Path, site: str, dataset: Dataset) -> SiteData:
    """Read a site; kept in memory until its file changes.

    Raises:
        DataError: No such site, no images, or images, labels or splits that cannot be used.
    """
    source = locate(data, site)
    status = source.path.stat()
    return _read(source, dataset, status.st_mtime_ns, status.st_size)


def refuse_bad_files(site: SiteData, max_bad: float = MAX_BAD) -> None:
    """Refuse a site with too many files that cannot be used.

    Raises:
        DataError: The part of such files is above ``max_bad``.
    """
    total = len(site.bad) + len(site.images)
    if len(site.bad) > max_bad * total:
        raise DataError(
            f"site '{site.site}': {len(site.bad)} of {total} files cannot be used, more than {max_bad:.0%}. "
            "Inspect the data at the site to see which"
        )


@lru_cache(maxsize=CACHED_SITES)
def _read(source: Source, dataset: Dataset, modified_ns: int, size: int) -> SiteData:  # noqa: ARG001 - part of the key
    reading = (read_folder if source.path.name == TABLE else read_npz)(source, dataset)
    if not len(reading.images):
        raise DataError(f"site '{source.site}' has no usable image: {len(reading.bad)} files were skipped")
    return _check(reading, source.site, dataset)


def _check(reading: Reading, site: str, dataset: Dataset) -> SiteData:
    classes = name_classes(dataset, reading.classes, reading.labels)
    labels = reading.labels
    if labels is not None:
        labels = check_labels(labels, site=site, task=dataset.task, classes=classes)
    content = SiteData(
        site=site,
        contract=Contract(task=dataset.task, classes=classes, channels=reading.images.shape[1]),
        images=reading.images,
        sizes=reading.sizes,
        labels=labels,
        splits=np.full(len(reading.images), ""),
        patients=_patients(reading),
        spacing_mm=reading.spacing_mm,
        bad=reading.bad,
        digest=reading.digest,
    )
    return replace(content, splits=_splits(reading.splits, content, dataset.name))


def _patients(reading: Reading) -> Array:
    """The patients; without any, each image is a patient of its own."""
    if reading.patients is not None:
        return reading.patients
    return np.array([f"image {index}" for index in range(len(reading.images))])


def _splits(splits: Array | None, content: SiteData, dataset: str) -> Array:
    if splits is None:
        classes = content.classes_of(np.arange(len(content.images)))
        return deal_splits(content.patients, classes, derive_seed(0, dataset, content.site, "splits"))
    unknown = sorted(set(splits.tolist()) - set(Split))
    if unknown:
        raise DataError(f"site '{content.site}': split '{unknown[0]}' found, expected {', '.join(Split)}")
    _refuse_shared_patients(splits, content)
    return splits


def _refuse_shared_patients(splits: Array, content: SiteData) -> None:
    pairs = set(zip(content.patients.tolist(), splits.tolist(), strict=True))
    shared = len(pairs) - len(set(content.patients.tolist()))
    if shared:
        raise DataError(f"site '{content.site}': {shared} patients are in more than one split: split by patient")
