"""What a site tells about its data: counts, never images, names of files, or patients.

A study owns one contract (the ordered classes, channels, value range, spacing), and a card that differs is refused
before anything is scheduled.
"""

import json
from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import Field

from fedward_core.config import Frozen
from fedward_core.errors import CheckpointError, DataError

CARDS = "cards.json"  # in the folder of a run
ALIKE_MM = 0.0101  # sites round to hundredths: of two voxels of 0.625 mm one may have become 0.62 and one 0.63

_WAYS = {
    "classes": "Name the classes of all in dataset.classes",
    "spacing_mm": "Set dataset.spacing_mm, so that all are resampled to one size",
}


class Task(StrEnum):
    """What the labels of a dataset mean."""

    CLASSIFICATION = "classification"  # one class for each image
    MULTI_LABEL = "multi_label"  # any subset of the classes for each image
    SEGMENTATION = "segmentation"  # one class for each pixel or voxel


class DataKind(StrEnum):
    """What one example of a dataset is."""

    IMAGE = "image"
    VOLUME = "volume"  # slices, resampled to one grid
    CLIP = "clip"  # frames of a video or a cine series
    REPORT = "report"  # an image with the report that was written about it


class DataNeed(StrEnum):
    """What a method reads."""

    IMAGE = "image"
    TWO_VIEWS = "two_views"  # images, of which the method draws two views
    IMAGE_REPORT = "image_report"
    VOLUME = "volume"
    CLIP = "clip"


SERVES = {
    DataKind.IMAGE: frozenset({DataNeed.IMAGE, DataNeed.TWO_VIEWS}),
    DataKind.REPORT: frozenset({DataNeed.IMAGE, DataNeed.TWO_VIEWS, DataNeed.IMAGE_REPORT}),
    DataKind.VOLUME: frozenset({DataNeed.VOLUME}),
    DataKind.CLIP: frozenset({DataNeed.CLIP}),
}
"""Which needs a kind of data serves."""


class Split(StrEnum):
    """Which part of a dataset; splits are by patient."""

    TRAIN = "train"
    VALIDATION = "val"
    TEST = "test"


class Contract(Frozen):
    """What every site of a study must agree on.

    Attributes:
        kind: What one example is.
        task: What the labels mean.
        classes: The classes in the order of their label numbers.
        depth: Slices of a volume, or frames of a clip; None for images.
        channels: Image channels, 1 for grey and 3 for colour.
        value_range: The range of pixel values after reading.
        spacing_mm: The size of a voxel of the site's volumes in depth, height and width: as resampled, else as it is
            in the files where all of them are alike; None where it is not known, and for images and clips.
    """

    kind: DataKind = DataKind.IMAGE
    task: Task = Task.CLASSIFICATION
    classes: tuple[str, ...]
    depth: int | None = Field(default=None, ge=1)
    channels: int = Field(default=1, ge=1)
    value_range: tuple[float, float] = (0.0, 1.0)
    spacing_mm: tuple[float, ...] | None = None


class DatasetCard(Frozen):
    """One dataset at one site, in counts.

    Attributes:
        site: The site.
        dataset: The dataset's name.
        contract: What the study compares.
        num_images: Usable images of each split.
        num_patients: Patients of each split.
        class_counts: Images of each class, for each split, in the order of the classes; empty without labels.
        num_skipped: Files that could not be used; they are listed at the site only.
        digest: The SHA-256 of the dataset's content.
    """

    site: str
    dataset: str
    contract: Contract
    num_images: dict[Split, int]
    num_patients: dict[Split, int]
    class_counts: dict[Split, tuple[int, ...]] = Field(default_factory=dict)
    num_skipped: int = 0
    digest: str


def agreed_contract(cards: tuple[DatasetCard, ...]) -> Contract:
    """The contract of all cards.

    Raises:
        DataError: No card, or two sites that differ; the message names them and what differs.
    """
    if not cards:
        raise DataError("no site has this dataset: expected at least one dataset card")
    first = cards[0]
    for card in cards[1:]:
        for key, (ours, theirs) in differences(first.contract, card.contract).items():
            raise DataError(
                f"sites '{first.site}' and '{card.site}' do not fit one study: {key} is {ours} at the first and "
                f"{theirs} at the second. {_WAYS.get(key, 'Make the datasets alike')}, or set cohort.sites to those "
                "that are alike"
            )
    return first.contract


def differences(first: Contract, second: Contract) -> dict[str, tuple[Any, Any]]:
    """What two contracts differ in, with what each says of it; lengths that differ by their rounding are alike."""
    pairs = {key: (getattr(first, key), getattr(second, key)) for key in Contract.model_fields}
    alike = _are_alike(first.spacing_mm, second.spacing_mm)
    return {
        key: (ours, theirs)
        for key, (ours, theirs) in pairs.items()
        if ours != theirs and not (key == "spacing_mm" and alike)
    }


def _are_alike(ours: tuple[float, ...] | None, theirs: tuple[float, ...] | None) -> bool:
    if ours is None or theirs is None:
        return ours is theirs
    return len(ours) == len(theirs) and all(abs(a - b) <= ALIKE_MM for a, b in zip(ours, theirs, strict=True))


def read_cards(run: Path) -> tuple[DatasetCard, ...]:
    """The cards that lie in the folder of a run.

    Raises:
        CheckpointError: They are missing or damaged.
    """
    try:
        return tuple(DatasetCard.model_validate(card) for card in json.loads((run / CARDS).read_bytes()))
    except FileNotFoundError:
        raise CheckpointError(
            f"'{run.name}' has no {CARDS}: expected the folder of a whole run, or of an unpacked download of one"
        ) from None
    except (ValueError, TypeError):
        raise CheckpointError(f"{CARDS} of '{run.name}' is damaged: restore it from a copy, or run anew") from None
