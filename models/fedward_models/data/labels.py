"""What labels mean: class names, checks, and the class that an image counts for when patients are dealt out."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from fedward_core.arrays import Array
from fedward_core.cards import Task
from fedward_core.errors import DataError
from fedward_core.spec import Dataset

AXES = {Task.CLASSIFICATION: (1,), Task.MULTI_LABEL: (2,), Task.SEGMENTATION: (3, 4)}  # of labels; 4 of volumes
MOST_CLASSES = 100_000  # decided here
MOST_OF_ONE = 5  # decided here: classes that may have one patient each, as in a handful of images to try things out
SEPARATOR = "|"  # between the findings of one image in a table


def name_classes(dataset: Dataset, named: tuple[str, ...], labels: Array | None) -> tuple[str, ...]:
    """The classes in the order of their numbers: the study's, else the file's, else "class 0" and so on.

    Args:
        dataset: The study's.
        named: Those of the file; empty where it names none.
        labels: (N,), (N, K), (N, H, W) or (N, D, H, W); None where there are none, and then no classes.

    Raises:
        DataError: The labels are numbers of something else than classes.
    """
    if dataset.classes or named or labels is None or not _are_numbers(labels, dataset.task):
        return dataset.classes or named
    count = labels.shape[1] if dataset.task is Task.MULTI_LABEL else int(labels.max(initial=0)) + 1
    return numbered_classes(count)


def numbered_classes(count: int) -> tuple[str, ...]:
    """Names of classes that have none of their own: "class 0" and so on.

    Raises:
        DataError: So many classes that the labels are numbers of something else, such as patients or dates.
    """
    if count > MOST_CLASSES:
        raise DataError(
            f"labels go up to {count - 1}, expected class numbers that begin with 0 and are below {MOST_CLASSES}: are "
            "they numbers of something else? Give the classes names, or number them without gaps"
        )
    return tuple(f"class {number}" for number in range(count))


def numbered_as_in_study(
    labels: Array, named: tuple[str, ...], *, site: str, task: Task, classes: tuple[str, ...]
) -> Array:
    """Labels of a source that names its classes, under the numbers that the study gives them.

    A source that shares no name with the study has other words for the same numbers, which then stand.

    Args:
        labels: As read: (N,), (N, K), (N, H, W) or (N, D, H, W).
        named: The classes of the source in the order of its numbers; empty where it names none.
        site: For messages.
        task: What the labels mean.
        classes: The study's classes in the order of their numbers.

    Raises:
        DataError: A label whose class the study does not have; findings that are others than the study's; or as of
            :func:`check_labels`.
    """
    if named == classes or not set(named) & set(classes):
        return labels
    labels = check_labels(labels, site=site, task=task, classes=named)
    if task is Task.MULTI_LABEL:
        return _findings_of_study(labels, named, site=site, classes=classes)
    for number in np.unique(labels):
        if named[number] not in classes:
            raise unknown_label(site, named[number], classes)
    numbers = np.array([classes.index(name) if name in classes else -1 for name in named])
    return np.asarray(numbers[labels])


def check_labels(labels: Array, *, site: str, task: Task, classes: tuple[str, ...]) -> Array:
    """Refuse labels that mean nothing in this study.

    Args:
        labels: As read: (N,), (N, K), (N, H, W) or (N, D, H, W).
        site: For messages.
        task: What the labels mean.
        classes: The classes in the order of their numbers.

    Returns:
        int64, or float32 zeros and ones for multi-label.

    Raises:
        DataError: Another shape or type, or a value outside the classes.
    """
    if not _are_numbers(labels, task):
        raise DataError(
            f"site '{site}': labels are {labels.dtype} with {labels.ndim} axes, expected whole numbers with "
            f"{' or '.join(map(str, AXES[task]))} for {task}; their names stand in 'classes'"
        )
    if task is Task.MULTI_LABEL:
        return _check_findings(labels, site=site, classes=classes)
    beyond = labels[(labels < 0) | (labels >= len(classes))]
    if beyond.size:
        raise unknown_label(site, str(beyond.flat[0]), classes)
    return labels.astype(np.int64)


def refuse_names_of_patients(labels: Array, patients: Array, *, site: str) -> None:
    """Refuse labels that tell patients apart, such as the names of their folders: classes leave the site on its card.

    Where patients are not named, several images of one have several owners, and such labels look like classes.

    Args:
        labels: (N,) numbers of classes that the site itself names or numbers, or (N, K) zeros and ones.
        patients: (N,), whose the images are.
        site: For the message.

    Raises:
        DataError: There are several such classes, and none of them is that of two patients.
    """
    rows, classes = np.nonzero(labels) if labels.ndim == 2 else (np.arange(len(labels)), labels)
    owners = Counter(number for number, _ in set(zip(classes.tolist(), patients[rows].tolist(), strict=True)))
    if len(owners) > MOST_OF_ONE and max(owners.values()) == 1:
        raise DataError(
            f"site '{site}': each of its {len(owners)} labels is that of one patient only: are they names or numbers "
            "of patients? They would leave the site as classes. Correct the labels, or leave them out"
        )


def encode(texts: Sequence[str], *, site: str, task: Task, classes: tuple[str, ...]) -> Array:
    """Class numbers of the labels of a table: names, or numbers where they are no names.

    Args:
        texts: A class for each image, or for multi-label any number of them, separated by ``|``.
        site: For messages.
        task: What the labels mean.
        classes: The classes in the order of their numbers.

    Returns:
        (N,) int64, or (N, K) zeros and ones for multi-label.

    Raises:
        DataError: A label that is no class.
    """
    numbers = {str(number): number for number in range(len(classes))}
    numbers |= {name: number for number, name in enumerate(classes)}

    def number_of(text: str) -> int:
        if text not in numbers:
            raise unknown_label(site, text, classes)
        return numbers[text]

    if task is not Task.MULTI_LABEL:
        return np.array([number_of(text) for text in texts], dtype=np.int64)
    findings = np.zeros((len(texts), len(classes)), dtype=np.int64)
    for row, text in enumerate(texts):
        findings[row, [number_of(name) for name in split_findings(text)]] = 1
    return findings


def split_findings(text: str) -> list[str]:
    """The findings of one cell; an empty cell has none."""
    return [name.strip() for name in text.split(SEPARATOR) if name.strip()]


def unknown_label(site: str, label: str, classes: tuple[str, ...]) -> DataError:
    """The error for a label outside the classes, or for an image that has none though others have."""
    if not label:
        return DataError(
            f"site '{site}': a row has no label, though others have: give each image one, or list those without at a "
            "site of their own"
        )
    return DataError(
        f"site '{site}': label '{label}' is none of the {len(classes)} classes ({', '.join(classes)}): correct the "
        "label, or name its class in dataset.classes"
    )


def counted_classes(labels: Array, num_classes: int) -> Array:
    """Which classes each image has: (N, K) booleans, whatever the task."""
    if labels.ndim == 2:
        return np.asarray(labels > 0)
    if labels.ndim == 1:
        return np.asarray(labels[:, None] == np.arange(num_classes))
    within = tuple(range(1, labels.ndim))
    return np.stack([np.any(labels == number, axis=within) for number in range(num_classes)], axis=1)


def _are_numbers(labels: Array, task: Task) -> bool:
    return labels.ndim in AXES[task] and labels.dtype.kind in "iub"


def _findings_of_study(labels: Array, named: tuple[str, ...], *, site: str, classes: tuple[str, ...]) -> Array:
    """Columns by name. A finding that a source does not label is not absent from its images, so none may be missing."""
    if sorted(named) != sorted(classes):
        raise DataError(
            f"site '{site}': its findings are {', '.join(named)}, those of the study {', '.join(classes)}: label the "
            "same ones everywhere"
        )
    return labels[:, [named.index(name) for name in classes]].astype(np.int64)


def _check_findings(labels: Array, *, site: str, classes: tuple[str, ...]) -> Array:
    if labels.shape[1] != len(classes):
        raise DataError(
            f"site '{site}': labels have {labels.shape[1]} columns, expected one for each of {len(classes)} classes"
        )
    beyond = labels[(labels != 0) & (labels != 1)]
    if beyond.size:
        raise DataError(
            f"site '{site}': label '{beyond.flat[0]}' found, expected 0 or 1 for each of the {len(classes)} classes"
        )
    return labels.astype(np.float32)
