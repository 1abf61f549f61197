"""One site's file into several files, as if it were several hospitals."""

from pathlib import Path

import numpy as np

from fedward_core.arrays import Array, Arrays
from fedward_core.errors import DataError
from fedward_models.data.labels import counted_classes, numbered_classes
from fedward_models.data.patients import known_patients
from fedward_models.data.reading.npz_file import PER_IMAGE, load_npz, num_examples, write_npz
from fedward_models.data.source import locate
from fedward_models.data.splitting.dirichlet import SEED, dirichlet_split
from fedward_models.data.splitting.splits import deal_parts


def split_site(data: Path, site: str, parts: int, out: Path, seed: int = 0) -> tuple[Path, ...]:
    """Deal a site's patients to pseudo-sites ``<site>-1.npz`` and so on, evenly in each class and split.

    Args:
        data: The folder with the site's ``.npz`` file.
        site: The site.
        parts: How many pseudo-sites.
        out: The folder for their files.
        seed: Shuffles patients.

    Raises:
        DataError: The site has no ``.npz`` file, labels that are no class numbers, or fewer patients than parts.
        CheckpointError: A file cannot be written.
    """
    arrays = _load(data, site)
    patients = known_patients(arrays.get("patient", np.arange(num_examples(arrays))))
    if len(np.unique(patients)) < parts:
        raise DataError(f"site '{site}' has {len(np.unique(patients))} patients, too few for {parts} parts")
    dealt = deal_parts(patients, _groups(arrays, site), parts, seed)
    return _write(arrays, [np.flatnonzero(dealt == part) for part in range(parts)], site, out)


def split_dirichlet(  # noqa: PLR0913 - split_site with the strength of the skew
    data: Path, site: str, parts: int, out: Path, *, alpha: float, seed: int = SEED
) -> tuple[Path, ...]:
    """Deal a site's images to pseudo-sites with label skew; :mod:`fedward_models.data.splitting.dirichlet` says how.

    Images are dealt one by one, as in the paper: a patient may be at several pseudo-sites. Where the file has splits,
    every pseudo-site has ten training images at least, and one of each other split; where it has none, they are drawn
    at each pseudo-site by itself.

    Raises:
        DataError: The site has no ``.npz`` file or no class numbers, or too few images.
        CheckpointError: A file cannot be written.
    """
    arrays = _load(data, site)
    labels = arrays.get("labels")
    if labels is None or labels.ndim != 1 or labels.dtype.kind not in "iub":
        raise DataError(f"site '{site}': expected 'labels' with one class number for each image, to skew them")
    return _write(arrays, dirichlet_split(labels, parts, alpha, seed, splits=arrays.get("split")), site, out)


def _load(data: Path, site: str) -> dict[str, Array]:
    source = locate(data, site)
    if source.path.suffix != ".npz":
        raise DataError(f"site '{site}' is a folder of files: only an .npz file can be split")
    return load_npz(source)


def _groups(arrays: Arrays, site: str) -> Array:
    """(N, groups) booleans: each image's classes within its split, so that every part has all of both."""
    count = num_examples(arrays)
    labels = arrays.get("labels", arrays.get("masks", np.zeros(count, dtype=np.int64)))
    if labels.dtype.kind not in "iub":
        raise DataError(f"site '{site}': labels are {labels.dtype}, expected class numbers: their names are 'classes'")
    classes = counted_classes(labels, len(numbered_classes(int(labels.max(initial=0)) + 1)))
    splits = arrays.get("split", np.zeros(count))
    within = splits[:, None] == np.unique(splits)
    return np.asarray(classes[:, :, None] & within[:, None, :]).reshape(count, -1)


def _write(arrays: Arrays, parts: list[Array], site: str, out: Path) -> tuple[Path, ...]:
    paths = tuple(out / f"{site}-{number}.npz" for number in range(1, len(parts) + 1))
    for path, part in zip(paths, parts, strict=True):
        write_npz(path, {key: array[part] if key in PER_IMAGE else array for key, array in arrays.items()})
    return paths
