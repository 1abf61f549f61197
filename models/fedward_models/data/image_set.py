"""One split of one site in torch."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fedward_core.arrays import Array
from fedward_core.cards import Contract, Split, differences
from fedward_core.errors import DataError
from fedward_core.spec import Dataset, PublicSet, Standardisation
from fedward_models.data.labels import counted_classes
from fedward_models.data.site_data import SiteData, read_site, refuse_bad_files
from fedward_models.data.splitting.splits import choose_fraction


@dataclass(frozen=True, kw_only=True)
class ImageSet:
    """Images, volumes or clips of one split of one site.

    Attributes:
        stored: (M, C, px, px), (M, C, D, px, px) or (M, C, T, px, px), uint8: all of the site, mapped from its disk.
        rows: (N,) int64, which of the stored ones make up the set.
        labels: (N,) int64, (N, K) float, (N, px, px) or (N, D, px, px) int64; None where there are none.
        patients: The patient of each image; they stay at the site.
        mean: The mean of the site's training images, in [0, 1], unless the spec fixes it for all sites.
        std: The standard deviation of their pixels, in [0, 1], unless the spec fixes it.
        contract: What a study compares.
        reports: The text written about each image, for kind report; they stay at the site.
    """

    stored: Tensor
    rows: Tensor
    labels: Tensor | None
    patients: tuple[str, ...]
    mean: float
    std: float
    contract: Contract
    reports: tuple[str, ...] | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def images(self) -> Tensor:
        """(N, C, ...), uint8: a copy, in memory."""
        return self.stored[self.rows]

    def subset(self, indices: Tensor) -> "ImageSet":
        """Some of the images, in the order of the indices."""
        return replace(
            self,
            rows=self.rows[indices],
            labels=None if self.labels is None else self.labels[indices],
            patients=_chosen(self.patients, indices),
            reports=None if self.reports is None else _chosen(self.reports, indices),
        )


def open_split(data: Path, site: str, dataset: Dataset, split: Split) -> ImageSet:
    """Open one split of one site.

    Raises:
        DataError: No such site, no image in the split, no training image to standardise by, or data that cannot be
            used.
    """
    content = read_site(data, site, dataset)
    refuse_bad_files(content)
    part = content.indices(split)
    if not len(part):
        raise DataError(
            f"site '{site}' has no image in the split '{split}' of dataset '{dataset.name}': choose another split, or "
            f"write '{split}' as the split of some"
        )
    own = _statistics(content)
    return _images(content, part, dataset.standardisation or own)


def own_scale(data: Path, site: str, dataset: Dataset) -> Standardisation:
    """The scale of a site's own training images, by which it standardises unless the spec fixes one for all.

    Raises:
        DataError: No such site, no training image to standardise by, or data that cannot be used.
    """
    return _statistics(read_site(data, site, dataset))


def open_public(data: Path, site: str, dataset: Dataset, public: PublicSet, own: ImageSet) -> ImageSet:
    """Every image of a public dataset, as a site's own model has to see them: standardised as the site's images are.

    Args:
        data: The folder with the public dataset, under the site's name.
        site: The site.
        dataset: The study's dataset, for sizes and classes.
        public: Which dataset.
        own: The site's training images.

    Raises:
        DataError: The dataset is missing or another one, or its images or classes are not those of the study.
    """
    content = read_site(data, site, dataset.model_copy(update={"name": public.name}))
    if content.digest != public.sha256:
        raise DataError(
            f"the public dataset '{public.name}' is not the one that the spec names: expected sha256 {public.sha256}, "
            f"found {content.digest}. Fetch the right one, or correct the digest in the spec"
        )
    if differences(own.contract, content.contract):
        raise DataError(
            f"the public dataset '{public.name}' has other classes or images than the study: expected "
            f"{own.contract}, found {content.contract}"
        )
    return _images(content, np.arange(len(content.images)), Standardisation(mean=own.mean, std=own.std))


def _images(content: SiteData, part: Array, scale: Standardisation) -> ImageSet:
    return ImageSet(
        stored=torch.from_numpy(np.asarray(content.images)),
        rows=torch.from_numpy(part),
        labels=None if content.labels is None else torch.from_numpy(content.labels[part]),
        patients=tuple(content.patients[part].tolist()),
        mean=scale.mean,
        std=scale.std,
        contract=content.contract,
        reports=None if content.reports is None else tuple(content.reports[index] for index in part),
    )


def label_subset(images: ImageSet, fraction: float, seed: int) -> ImageSet:
    """The images whose labels a study may use: whole patients, stratified by class.

    Args:
        images: The training images of a site.
        fraction: In (0, 1], of the patients of each class; at least one of each class that is present.
        seed: The same seed gives nested subsets: a smaller fraction's images are among a larger one's.
    """
    chosen = choose_fraction(np.array(images.patients), _classes_of(images), fraction, seed)
    return images.subset(torch.from_numpy(chosen))


def _classes_of(images: ImageSet) -> Array:
    if images.labels is None:
        return np.zeros((len(images), 0), dtype=bool)
    return counted_classes(images.labels.numpy(), len(images.contract.classes))


def _chosen(texts: tuple[str, ...], indices: Tensor) -> tuple[str, ...]:
    return tuple(texts[index] for index in indices.tolist())


def _statistics(content: SiteData) -> Standardisation:
    counts = content.levels
    if np.count_nonzero(counts) < 2:
        raise DataError(f"site '{content.site}': expected training images with contrast to standardise by, found none")
    if not counts[2:].any():  # the published loader of SSL-FL trains on such images without a word
        raise DataError(
            f"site '{content.site}': the training images are black but for single levels: expected levels from 0 to "
            "255, and not fractions that were cut to whole numbers. Write the images anew"
        )
    levels = np.arange(256) / 255
    mean = float(np.average(levels, weights=counts))
    return Standardisation(mean=mean, std=float(np.sqrt(np.average((levels - mean) ** 2, weights=counts))))
