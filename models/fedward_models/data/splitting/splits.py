"""Patients into splits and subsets. A patient is never in two of them.

Patients are dealt class by class. A patient with images of several classes counts for the one that the fewest patients
have, so that rare classes are spread first.
"""

import numpy as np

from fedward_core.arrays import Array
from fedward_core.cards import Split
from fedward_core.seeds import generator

# 70 / 15 / 15 in every twenty. The first two patients of a class are trained on, the third is tested on.
_T, _V, _E = Split.TRAIN, Split.VALIDATION, Split.TEST
CYCLE = (_T, _T, _E, _T, _T, _V, _T, _T, _T, _E, _T, _T, _V, _T, _T, _E, _T, _T, _V, _T)


def deal_splits(patients: Array, classes: Array, seed: int) -> Array:
    """A split for each image: in each class, shuffled patients are dealt to 14 train, 3 test and 3 validation in turn.

    Args:
        patients: (N,) the patient of each image.
        classes: (N, K) booleans, the classes of each image.
        seed: Shuffles.

    Returns:
        (N,) values of :class:`Split`.
    """
    names, owner = np.unique(patients, return_inverse=True)
    splits = np.empty(len(names), dtype="<U5")
    for stratum in _strata(owner, classes, seed):
        splits[stratum] = [CYCLE[position % len(CYCLE)] for position in range(len(stratum))]
    return splits[owner]


def deal_parts(patients: Array, classes: Array, parts: int, seed: int) -> Array:
    """A part for each image: in each class, shuffled patients are dealt to the parts in turn.

    Args:
        patients: (N,) the patient of each image.
        classes: (N, K) booleans, the classes of each image.
        parts: How many.
        seed: Shuffles.

    Returns:
        (N,) numbers of parts, counted from 0.
    """
    names, owner = np.unique(patients, return_inverse=True)
    part = np.empty(len(names), dtype=np.int64)
    dealt = 0
    for stratum in _strata(owner, classes, seed):
        part[stratum] = (np.arange(len(stratum)) + dealt) % parts
        dealt += len(stratum)
    return part[owner]


def choose_fraction(patients: Array, classes: Array, fraction: float, seed: int) -> Array:
    """The images of a fraction of the patients of each class; a smaller fraction's images are among a larger one's.

    Args:
        patients: (N,) the patient of each image.
        classes: (N, K) booleans, the classes of each image.
        fraction: In (0, 1]. At least one patient of each class that is present is chosen.
        seed: Shuffles.

    Returns:
        The indices of the chosen images, rising.
    """
    names, owner = np.unique(patients, return_inverse=True)
    strata = _strata(owner, classes, seed)
    first = _first_of_each_class(np.concatenate(strata), _classes_of_patients(owner, classes))
    chosen = np.zeros(len(names), dtype=bool)
    for stratum in strata:
        ordered = np.concatenate([stratum[first[stratum]], stratum[~first[stratum]]])
        count = max(int(fraction * len(stratum) + 0.5), int(first[stratum].sum()))
        chosen[ordered[:count]] = True
    return np.flatnonzero(chosen[owner])


def _strata(owner: Array, classes: Array, seed: int) -> list[Array]:
    """Patients by the rarest class that they have, each stratum shuffled; those without any class come last."""
    has = _classes_of_patients(owner, classes)
    rarity = np.where(has, has.sum(axis=0), len(has) + 1)
    stratum = np.where(has.any(axis=1), rarity.argmin(axis=1), has.shape[1]) if has.shape[1] else np.zeros(len(has))
    shuffled = generator(seed, "patients").permutation(len(has))
    return [shuffled[stratum[shuffled] == number] for number in np.unique(stratum)]


def _classes_of_patients(owner: Array, classes: Array) -> Array:
    has = np.zeros((int(owner.max(initial=-1)) + 1, classes.shape[1]), dtype=bool)
    np.logical_or.at(has, owner, classes)
    return has


def _first_of_each_class(order: Array, has: Array) -> Array:
    first = np.zeros(len(has), dtype=bool)
    for number in range(has.shape[1]):
        first[order[has[order, number]][:1]] = True
    return first
