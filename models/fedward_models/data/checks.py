"""What a study needs to know of a site's reading, checked: classes, labels, voxel size, splits."""

import numpy as np

from fedward_core.arrays import Array
from fedward_core.cards import Contract, DataKind, Split
from fedward_core.errors import DataError
from fedward_core.seeds import derive_seed
from fedward_core.spec import Dataset
from fedward_models.data.labels import check_labels, name_classes, numbered_as_in_study
from fedward_models.data.reading.decoding import grid_of
from fedward_models.data.reading.found import Reading
from fedward_models.data.splitting.splits import deal_splits

SAME_SPACING_MM = 0.01  # decided here: voxels that differ by less are alike


def contract_of(reading: Reading, site: str, dataset: Dataset) -> Contract:
    """What a study compares between sites.

    Raises:
        DataError: Volumes of different spacings, which the study does not resample, or labels of something else than
            classes.
    """
    grid = grid_of(dataset)
    return Contract(
        kind=dataset.kind,
        task=dataset.task,
        classes=name_classes(dataset, reading.classes, reading.labels),
        depth=grid[0] if len(grid) == 3 else None,
        channels=reading.images.shape[1],
        spacing_mm=_spacing(reading, site, dataset),
    )


def labels_of(reading: Reading, site: str, contract: Contract) -> Array | None:
    """The labels as the study numbers its classes; None where there are none.

    Raises:
        DataError: They are not those of the task, or name other classes.
    """
    if reading.labels is None:
        return None
    task, classes = contract.task, contract.classes
    labels = numbered_as_in_study(reading.labels, reading.classes, site=site, task=task, classes=classes)
    return check_labels(labels, site=site, task=task, classes=classes)


def splits_of(reading: Reading, site: str, dataset: Dataset, *, patients: Array, classes: Array) -> Array:
    """(N,) train, val or test, as the source has them; where it has none, dealt by patient, evenly in each class.

    Args:
        reading: What was read.
        site: The site.
        dataset: The study.
        patients: (N,) names.
        classes: (N, K) booleans.

    Raises:
        DataError: Another name, or a patient in more than one split.
    """
    splits = reading.splits
    if splits is None:
        return deal_splits(patients, classes, derive_seed(0, dataset.name, site, "splits"))
    unknown = sorted(set(splits.tolist()) - set(Split))
    if unknown:
        raise DataError(f"site '{site}': split '{unknown[0]}' found, expected {', '.join(Split)}")
    pairs = set(zip(patients.tolist(), splits.tolist(), strict=True))
    if shared := len(pairs) - len(set(patients.tolist())):
        raise DataError(f"site '{site}': {shared} patients are in more than one split: split by patient")
    return splits


def _spacing(reading: Reading, site: str, dataset: Dataset) -> tuple[float, ...] | None:
    """The size of the voxels that a study compares."""
    if dataset.kind is not DataKind.VOLUME or dataset.spacing_mm is not None:
        return dataset.spacing_mm
    spacings = reading.spacings_mm
    assert spacings is not None
    if np.isnan(spacings).all():
        return None
    if not (np.abs(spacings - spacings[0]) < SAME_SPACING_MM).all():
        raise DataError(
            f"site '{site}': mixed spacings: voxels differ in size between volumes, or are not known of some. Set "
            "dataset.spacing_mm, so that all are resampled to one size"
        )
    return tuple(np.round(spacings[0], 2).tolist())
