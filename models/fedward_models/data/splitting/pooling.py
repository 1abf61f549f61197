"""All sites' files as one site's: the upper bound that a federation is compared with, where hospitals are simulated."""

from pathlib import Path

import numpy as np

from fedward_core.arrays import Array
from fedward_core.errors import DataError
from fedward_models.data.patients import known_patients
from fedward_models.data.reading.npz_file import PER_IMAGE, load_npz, num_examples, write_npz
from fedward_models.data.source import locate, sites_in

POOLED = "pooled"


def pool_sites(data: Path, out: Path) -> Path:
    """Write ``pooled.npz`` with the images of every site of a folder; patients keep apart by their site's name.

    Args:
        data: The folder with an ``.npz`` file for each site; all have the same arrays, and splits of their own.
        out: The folder for the file.

    Raises:
        DataError: A site is no ``.npz`` file, has no splits, or has other arrays or other classes than the first.
        CheckpointError: The file cannot be written.
    """
    sites = {site: _load(data, site) for site in sites_in(data)}
    first_name, first = next(iter(sites.items()))
    for site, arrays in sites.items():
        _refuse_difference(first_name, first, site, arrays)
    pooled = {
        key: np.concatenate([arrays[key] for arrays in sites.values()]) if key in PER_IMAGE else array
        for key, array in first.items()
    }
    path = out / f"{POOLED}.npz"
    write_npz(path, pooled)
    return path


def _load(data: Path, site: str) -> dict[str, Array]:
    source = locate(data, site)
    if source.path.suffix != ".npz":
        raise DataError(f"site '{site}' is a folder of files: only .npz files can be pooled")
    arrays = load_npz(source)
    if "split" not in arrays:
        raise DataError(f"site '{site}' has no splits: pooling would draw them anew, and test on what sites train on")
    count = num_examples(arrays)
    patients = known_patients(arrays.get("patient", np.arange(count)))
    return {**_with_spacing_of_each(arrays, count), "patient": np.array([f"{site}/{patient}" for patient in patients])}


def _with_spacing_of_each(arrays: dict[str, Array], count: int) -> dict[str, Array]:
    """Sites may have pixels of different size, so that each image needs its own."""
    if "spacing_mm" not in arrays:
        return arrays
    kept = {key: array for key, array in arrays.items() if key != "spacing_mm"}
    return {"spacings_mm": np.tile(arrays["spacing_mm"], (count, 1)), **kept}


def _refuse_difference(first_name: str, first: dict[str, Array], site: str, arrays: dict[str, Array]) -> None:
    if arrays.keys() != first.keys():
        raise DataError(
            f"sites '{first_name}' and '{site}' cannot be pooled: the first has {', '.join(sorted(first))}, the second "
            f"{', '.join(sorted(arrays))}"
        )
    for key in first.keys() - set(PER_IMAGE):
        if not np.array_equal(first[key], arrays[key]):
            raise DataError(f"sites '{first_name}' and '{site}' cannot be pooled: their {key} differ")
