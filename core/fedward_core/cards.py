"""What a site tells about its data: counts, never images, names of files, or patients.

A study owns one contract (the ordered classes, channels, value range, spacing), and a card that differs is refused
before anything is scheduled.
"""

from enum import StrEnum

from pydantic import Field

from fedward_core.config import Frozen
from fedward_core.errors import DataError


class Task(StrEnum):
    """What the labels of a dataset mean."""

    CLASSIFICATION = "classification"  # one class for each image
    MULTI_LABEL = "multi_label"  # any subset of the classes for each image
    SEGMENTATION = "segmentation"  # one class for each pixel


class Split(StrEnum):
    """Which part of a dataset; splits are by patient."""

    TRAIN = "train"
    VALIDATION = "val"
    TEST = "test"


class Contract(Frozen):
    """What every site of a study must agree on.

    Attributes:
        task: What the labels mean.
        classes: The classes in the order of their label numbers.
        channels: Image channels, 1 for grey and 3 for colour.
        value_range: The range of pixel values after reading.
        spacing_mm: The size of a pixel where it is known and alike.
    """

    task: Task = Task.CLASSIFICATION
    classes: tuple[str, ...]
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
        for key in Contract.model_fields:
            ours, theirs = getattr(first.contract, key), getattr(card.contract, key)
            if ours != theirs:
                raise DataError(
                    f"sites '{first.site}' and '{card.site}' do not fit one study: {key} is {ours} at the first and "
                    f"{theirs} at the second. Make the datasets alike, or set cohort.sites to those that are"
                )
    return first.contract
