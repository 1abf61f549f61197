"""How much sites differ in classes, intensities and size, and what that suggests for a study.

Distances are between training splits. The report can be shown beyond the sites: small counts are hidden, totals are
rounded, and distances between classes are of the counts that are shown, so that none is found by subtraction.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from fedward_core.arrays import Array
from fedward_core.cards import Split
from fedward_core.errors import DataError
from fedward_core.spec import Dataset
from fedward_models.data.site_data import SiteData, read_site
from fedward_models.data.source import sites_in

SMALLEST_CELL = 5  # images; decided here, after what hospitals usually ask of patients
SKEWED_CLASSES = 0.3  # decided here: above the 0.2 that chance alone makes of two sites with 30 images
OTHER_SCANNERS = 0.05  # decided here: of the range from black to white
UNEQUAL_SIZES = 10.0  # decided here
NONE = np.zeros((0, 0))


@dataclass(frozen=True, kw_only=True)
class Advice:
    """One suggestion.

    Attributes:
        advice: What to do, in words of the spec.
        reason: The figure behind it.
    """

    advice: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Heterogeneity:
    """How S sites differ.

    Attributes:
        sites: Their names.
        classes: The classes of the study; empty without labels.
        num_images: Training images of each site, to the nearest ten; None where there are fewer than 5.
        class_counts: Training images of each class at each site; None where there are fewer than 5.
        class_distances: (S, S), half the sum of differences between the shares of classes (total variation), in [0, 1];
            NaN for a site of which no count is shown.
        intensity_distances: (S, S), how far levels must move on average to turn one site's histogram into another's
            (Wasserstein-1), as a part of the range from black to white; NaN for a site without training images.
        advice: What follows, most important first.
    """

    sites: tuple[str, ...]
    classes: tuple[str, ...]
    num_images: tuple[int | None, ...]
    class_counts: tuple[tuple[int | None, ...], ...]
    class_distances: Array
    intensity_distances: Array
    advice: tuple[Advice, ...]


def compare_sites(data: Path, dataset: Dataset) -> Heterogeneity:
    """Compare the sites of a folder.

    Raises:
        DataError: Fewer than two sites, sites of different classes, or data that cannot be used.
    """
    sites = [read_site(data, site, dataset) for site in sites_in(data)]
    if len(sites) < 2:
        raise DataError("one site has nothing to be compared with: expected a folder with two sites or more")
    for first, second in pairwise(sites):
        if first.contract.classes != second.contract.classes:
            raise DataError(f"sites '{first.site}' and '{second.site}' name different classes: name them for all")
    counts = np.stack([_class_counts(site) for site in sites])
    sizes = np.array([len(site.indices(Split.TRAIN)) for site in sites])
    labelled = bool(counts.size and counts.any(axis=1).all())
    classes = _distances(_shares(np.where(counts < SMALLEST_CELL, 0, counts)), total_variation) if labelled else NONE
    levels = np.stack([site.levels for site in sites])
    intensities = _distances(_shares(levels), wasserstein)
    return Heterogeneity(
        sites=tuple(site.site for site in sites),
        classes=sites[0].contract.classes if labelled else (),
        num_images=tuple(_shown(size) and (size + 5) // 10 * 10 for size in sizes.tolist()),
        class_counts=tuple(tuple(_shown(count) for count in row) for row in counts.tolist()) if labelled else (),
        class_distances=classes,
        intensity_distances=intensities,
        advice=_advice(sizes, counts if labelled else None, classes, intensities),
    )


def total_variation(first: Array, second: Array) -> float:
    """Between the shares of classes, (K,) each: 0 where they are alike, 1 where no class is at both."""
    return float(np.abs(first - second).sum() / 2)


def wasserstein(first: Array, second: Array) -> float:
    """Between the shares of levels, (256,) each, as a part of the range: 0 where alike, 1 between black and white."""
    return float(np.abs(np.cumsum(first - second)).sum() / (len(first) - 1))


def _class_counts(site: SiteData) -> Array:
    return np.asarray(site.classes_of(site.indices(Split.TRAIN)).sum(axis=0))


def _distances(shares: Array, distance: Callable[[Array, Array], float]) -> Array:
    return np.array([[distance(first, second) for second in shares] for first in shares])


def _shares(counts: Array) -> Array:
    """Of each row; NaN where a row is empty."""
    sums = counts.sum(axis=1, keepdims=True)
    return np.asarray(np.where(sums > 0, counts / np.maximum(sums, 1), np.nan))


def _shown(count: int) -> int | None:
    return count if count >= SMALLEST_CELL else None


def _advice(sizes: Array, counts: Array | None, classes: Array, intensities: Array) -> tuple[Advice, ...]:
    found = (
        *(_on_rare_classes(counts) if counts is not None else ()),
        *_on_classes(float(np.nanmax(classes, initial=0.0))),
        *_on_intensities(float(np.nanmax(intensities, initial=0.0))),
        *_on_sizes(sizes),
    )
    alike = Advice(advice="begin with plain averaging (weighted_mean)", reason="no difference is above its threshold")
    return found or (alike,)


def _on_rare_classes(counts: Array) -> Iterator[Advice]:
    few = int((counts < SMALLEST_CELL).any(axis=1).sum())
    if few:
        yield Advice(
            advice="judge each site by its own figures, and name dataset.classes in the spec",
            reason=f"{few} of {len(counts)} sites have fewer than {SMALLEST_CELL} training images of some class",
        )


def _on_classes(apart: float) -> Iterator[Advice]:
    if apart > SKEWED_CLASSES:
        yield Advice(
            advice="pre-train without labels (mae), keep heads private (fedper, channel_decoupling), or add the "
            "term proximal",
            reason=f"shares of classes differ by up to {apart:.2f}, above {SKEWED_CLASSES}",
        )


def _on_intensities(apart: float) -> Iterator[Advice]:
    if apart > OTHER_SCANNERS:
        yield Advice(
            advice="keep norms private (fedbn), and train with augment: true",
            reason=f"intensities differ by up to {apart:.2f} of the range, above {OTHER_SCANNERS}",
        )


def _on_sizes(sizes: Array) -> Iterator[Advice]:
    if sizes.max() > UNEQUAL_SIZES * max(int(sizes.min()), 1):
        yield Advice(
            advice="look at the smallest sites' figures: an average by images follows the largest",
            reason=f"the largest training set is more than {UNEQUAL_SIZES:g} times the smallest",
        )
