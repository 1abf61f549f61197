"""A look at the data, at the site: counts, intensities and the names of bad files. The names stay there."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fedward_core.arrays import Array
from fedward_core.cards import DataKind, DatasetCard, Task
from fedward_core.spec import Dataset
from fedward_models.data.card import card_of
from fedward_models.data.reading.decoding import orientation_of
from fedward_models.data.reading.found import BadFile
from fedward_models.data.reading.listed_files import usable_paths
from fedward_models.data.site_data import SiteData, count_levels, read_site
from fedward_models.data.source import TABLE, locate, sites_in

BINS = 32
NUM_EXAMPLES = 6


@dataclass(frozen=True, kw_only=True)
class SiteSummary:
    """One site, for the eyes of those who work there.

    Attributes:
        card: What the site would tell: counts of images, patients and classes in each split.
        smallest: The least height and width before resizing, in pixels; slices or frames first.
        largest: The greatest of them.
        histogram: Pixels in each of 32 equal bins from black to white, after resizing.
        mean: The mean of all pixels, in [0, 1].
        std: Their standard deviation, in [0, 1].
        bad: Files that were skipped, with the reason. Names: never to be sent.
        examples: (up to 6, C, px, px), uint8, of different classes; middle slices of volumes, middle frames of clips.
            Images: never to be sent.
        example_classes: The classes of each example; empty without labels.
        example_masks: (up to 6, px, px), the class numbers of pixels, for segmentation, else None. Never to be sent.
        orientations: How many volumes have their axes which way in their files, e.g. RAS; empty where no files are.
    """

    card: DatasetCard
    smallest: tuple[int, ...]
    largest: tuple[int, ...]
    histogram: tuple[int, ...]
    mean: float
    std: float
    bad: tuple[BadFile, ...]
    examples: Array
    example_classes: tuple[tuple[str, ...], ...]
    example_masks: Array | None
    orientations: Mapping[str, int]


def inspect(data: Path, dataset: Dataset) -> tuple[SiteSummary, ...]:
    """Look at every site of a folder, however many bad files it has.

    Raises:
        DataError: No site, a site without usable images, or labels and splits that cannot be used.
    """
    return tuple(_inspect_site(data, site, dataset) for site in sites_in(data))


def bad_files(data: Path, site: str, dataset: Dataset) -> tuple[BadFile, ...]:
    """The files of a site that were skipped, with the reason. Names: never to be sent.

    Raises:
        DataError: No such site, no usable image, or labels and splits that cannot be used.
    """
    return read_site(data, site, dataset).bad


def _inspect_site(data: Path, site: str, dataset: Dataset) -> SiteSummary:
    content = read_site(data, site, dataset)
    counts = count_levels(content.images, np.arange(len(content.images)))
    levels = np.arange(256) / 255
    mean = float(np.average(levels, weights=counts))
    classes = content.classes_of(np.arange(len(content.images)))
    chosen = _examples(classes)
    return SiteSummary(
        card=card_of(content, dataset),
        smallest=tuple(content.sizes.min(axis=0).tolist()),
        largest=tuple(content.sizes.max(axis=0).tolist()),
        histogram=tuple(map(int, counts.reshape(BINS, -1).sum(axis=1))),
        mean=mean,
        std=float(np.sqrt(np.average((levels - mean) ** 2, weights=counts))),
        bad=content.bad,
        examples=_middles(content.images[chosen]),
        example_classes=_names(classes[chosen], content.contract.classes),
        example_masks=_masks(content, chosen),
        orientations=_orientations(data, content, dataset),
    )


def _orientations(data: Path, content: SiteData, dataset: Dataset) -> Mapping[str, int]:
    source = locate(data, content.site)
    if dataset.kind is not DataKind.VOLUME or source.path.name != TABLE:
        return {}
    return Counter(map(orientation_of, usable_paths(source, {file.name for file in content.bad})))


def _examples(classes: Array) -> Array:
    """The first images of the classes in turn, each image once; without labels the first images."""
    if not classes.shape[1]:
        return np.arange(len(classes))[:NUM_EXAMPLES]
    chosen: list[int] = []
    for _ in range(NUM_EXAMPLES):
        for members in classes.T:
            if len(chosen) < NUM_EXAMPLES:
                chosen.extend(np.setdiff1d(np.flatnonzero(members), chosen)[:1].tolist())
    return np.array(chosen, dtype=np.int64)


def _names(classes: Array, names: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    if not classes.shape[1]:
        return ()
    return tuple(tuple(name for name, one in zip(names, row, strict=True) if one) for row in classes)


def _masks(content: SiteData, chosen: Array) -> Array | None:
    if content.labels is None or content.contract.task is not Task.SEGMENTATION:
        return None
    masks = np.asarray(content.labels[chosen])
    return masks if masks.ndim == 3 else masks[:, masks.shape[1] // 2]


def _middles(examples: Array) -> Array:
    return examples if examples.ndim == 4 else examples[:, :, examples.shape[2] // 2]
