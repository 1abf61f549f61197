"""Whose the images of a site are."""

import numpy as np

from fedward_core.arrays import Array


def known_patients(patients: Array) -> Array:
    """The patients, where each image of nobody that is named has one of its own, e.g. ``image 3``.

    Args:
        patients: (N,) names or numbers; an empty or blank name is none.

    Returns:
        (N,), as given where every image has a named one.
    """
    named = np.array([bool(str(patient).strip()) for patient in patients], dtype=bool)
    if named.all():
        return patients
    return np.where(named, patients.astype(str), [f"image {index}" for index in range(len(patients))])
