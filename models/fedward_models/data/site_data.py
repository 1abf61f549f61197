"""One site's data, read, resized and checked, without torch. Cards, inspection and image sets are made of it."""

from collections import Counter
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np

from fedward_core.arrays import Array
from fedward_core.cards import Contract, Split, Task
from fedward_core.errors import DataError
from fedward_core.spec import Dataset
from fedward_models.data.checks import contract_of, labels_of, splits_of
from fedward_models.data.labels import counted_classes, refuse_names_of_patients
from fedward_models.data.patients import known_patients
from fedward_models.data.reading import cache
from fedward_models.data.reading.found import BadFile, Reading
from fedward_models.data.reading.listed_files import listed_paths, read_listed_files
from fedward_models.data.reading.npz_file import read_npz
from fedward_models.data.source import TABLE, Source, locate

MAX_BAD = 0.05  # decided here: the part of a site's files that may be unusable
MOST_REASONS = 3  # decided here: so many reasons why files were skipped fit a message
OPEN_SITES = 128  # decided here: sites that a process keeps open; their images are mapped, not held in memory


@dataclass(frozen=True, kw_only=True)
class SiteData:
    """One site's usable examples; N of them, in the order of the source.

    Attributes:
        site: The site.
        contract: What a study compares.
        images: (N, C, px, px), (N, C, D, px, px) or (N, C, T, px, px), uint8; usually mapped from the disk.
        sizes: (N, 2) or (N, 3), as in :class:`Reading`.
        labels: (N,) int64, (N, K) float32, (N, px, px) or (N, D, px, px) int64; None where there are none.
        splits: (N,) train, val or test.
        patients: (N,) names; they stay at the site.
        names: (N,), the file or id of each example as the source has it, or nothing; they stay at the site.
        levels: (256,), how many pixels of training images have each level.
        reports: (N,) texts, for kind report; they stay at the site.
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
    names: Array
    levels: Array
    reports: tuple[str, ...] | None = field(default=None, repr=False)
    bad: tuple[BadFile, ...]
    digest: str

    def indices(self, split: Split) -> Array:
        """The images of a split."""
        return np.flatnonzero(self.splits == split)

    def classes_of(self, indices: Array) -> Array:
        """(len(indices), K) booleans, the classes of each image; K is 0 without labels."""
        return _classes_of(None if self.labels is None else self.labels[indices], len(indices), self.contract)


def read_site(data: Path, site: str, dataset: Dataset) -> SiteData:
    """Read a site. It is decoded once, and again only where its files or the study's settings change.

    A process that has it open goes on with what it has while the ``.npz`` file or the table is the same: it sees files
    that change beside a table after :func:`forget`, and any other process does at once.

    Raises:
        DataError: No such site, no images, or images, labels or splits that cannot be used.
    """
    source = locate(data, site)
    status = source.path.stat()
    return _read(source, dataset, status.st_mtime_ns, status.st_size)


def forget() -> None:
    """Close what this process has open; what lies on disk stays there."""
    _read.cache_clear()


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


def count_levels(images: Array, part: Array) -> Array:
    """(256,), how many pixels of some images have each level, counted image by image to bound memory."""
    counts = np.zeros(256, dtype=np.int64)
    for index in part:
        counts += np.bincount(images[index].reshape(-1), minlength=256)
    return counts


@lru_cache(maxsize=OPEN_SITES)
def _read(source: Source, dataset: Dataset, modified_ns: int, size: int) -> SiteData:  # noqa: ARG001 - part of the key
    listed = source.path.name == TABLE
    how = _reading(source, dataset)
    stamp = cache.stamp_of(listed_paths(source) if listed else [source.path], how)
    entry = cache.find(stamp)
    if entry is None:
        reading = (read_listed_files if listed else read_npz)(source, dataset)
        if not len(reading.images):
            raise _no_image(source, reading)
        content = _content_of(reading, source.site, dataset)
        entry = cache.keep(stamp, cache.key_of(content.digest, how), _entry_of(content))
    return _from_entry(entry, source.site)


def _no_image(source: Source, reading: Reading) -> DataError:
    """What is wrong with the files, commonest first; names of files may be those of patients, and are not told."""
    reasons = Counter(file.reason for file in reading.bad).most_common(MOST_REASONS)
    skipped = f"{len(reading.bad)} files were skipped: " + "; ".join(f"{reason} ({count})" for reason, count in reasons)
    why = skipped if reasons else f"'{source.path.name}' lists none"
    return DataError(f"site '{source.site}' has no usable image: {why}")


def _reading(source: Source, dataset: Dataset) -> str:
    """All that decides what is read from the same files: the fraction of labels and the scale do not."""
    return f"{source.site} {dataset.model_dump_json(exclude={'label_fraction', 'standardisation'})}"


def _entry_of(content: SiteData) -> cache.Entry:
    optional = {} if content.labels is None else {"labels": content.labels}
    facts = {
        "contract": content.contract.model_dump(mode="json"),
        "reports": content.reports,
        "bad": [(bad.name, bad.reason) for bad in content.bad],
        "digest": content.digest,
    }
    kept = ("images", "sizes", "splits", "patients", "names", "levels")
    return cache.Entry(facts=facts, arrays={name: getattr(content, name) for name in kept} | optional)


def _from_entry(entry: cache.Entry, site: str) -> SiteData:
    facts, reports = entry.facts, entry.facts["reports"]
    return SiteData(
        site=site,
        contract=Contract.model_validate(facts["contract"]),
        labels=entry.arrays.get("labels"),
        reports=None if reports is None else tuple(reports),
        bad=tuple(BadFile(name=name, reason=reason) for name, reason in facts["bad"]),
        digest=facts["digest"],
        **{name: array for name, array in entry.arrays.items() if name != "labels"},
    )


def _content_of(reading: Reading, site: str, dataset: Dataset) -> SiteData:
    count = len(reading.images)
    contract = contract_of(reading, site, dataset)
    labels = labels_of(reading, site, contract)
    patients = known_patients(_texts(reading.patients, count))
    if labels is not None and not dataset.classes and dataset.task is not Task.SEGMENTATION:
        refuse_names_of_patients(labels, patients, site=site)
    splits = splits_of(reading, site, dataset, patients=patients, classes=_classes_of(labels, count, contract))
    return SiteData(
        site=site,
        contract=contract,
        images=reading.images,
        sizes=reading.sizes,
        labels=labels,
        splits=splits,
        patients=patients,
        names=_texts(reading.names, count),
        levels=count_levels(reading.images, np.flatnonzero(splits == Split.TRAIN)),
        reports=reading.reports,
        bad=reading.bad,
        digest=reading.digest,
    )


def _classes_of(labels: Array | None, count: int, contract: Contract) -> Array:
    """(N, K) booleans, the classes of each image; K is 0 without labels."""
    if labels is None:
        return np.zeros((count, 0), dtype=bool)
    return counted_classes(labels, len(contract.classes))


def _texts(texts: Array | None, count: int) -> Array:
    return np.full(count, "") if texts is None else texts
