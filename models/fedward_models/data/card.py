"""What a site tells of its data: counts only."""

from pathlib import Path

import numpy as np

from fedward_core.cards import DatasetCard, Split
from fedward_core.spec import Dataset
from fedward_models.data.site_data import MAX_BAD, SiteData, read_site, refuse_bad_files


def describe(data: Path, site: str, dataset: Dataset, *, max_bad: float = MAX_BAD) -> DatasetCard:
    """The card of one site.

    Args:
        data: The folder with the sites' data.
        site: The site.
        dataset: What the study reads, and how.
        max_bad: The part of the files that may be unusable.

    Raises:
        DataError: No such site, no images, data that cannot be used, or too many bad files.
    """
    content = read_site(data, site, dataset)
    refuse_bad_files(content, max_bad)
    return card_of(content, dataset)


def card_of(content: SiteData, dataset: Dataset) -> DatasetCard:
    """The card of what was read."""
    parts = {split: content.indices(split) for split in Split}
    labelled = content.labels is not None
    return DatasetCard(
        site=content.site,
        dataset=dataset.name,
        contract=content.contract,
        num_images={split: len(part) for split, part in parts.items()},
        num_patients={split: len(np.unique(content.patients[part])) for split, part in parts.items()},
        class_counts={split: _class_counts(content, part) for split, part in parts.items()} if labelled else {},
        num_skipped=len(content.bad),
        digest=content.digest,
    )


def _class_counts(content: SiteData, part: np.ndarray) -> tuple[int, ...]:
    return tuple(map(int, content.classes_of(part).sum(axis=0)))
