"""Import of the split files that PFLlib writes (Zhang et al., github.com/TsingZ0/PFLlib).

    <folder>/train/<client>.npz, <folder>/test/<client>.npz    data: {"x": (N, C, H, W) float, "y": (N,) classes}

Their ``data`` is a pickled dictionary. Pickles can run code, so only what arrays are made of is let through.
"""

import pickle
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from fedward_core.arrays import Array
from fedward_core.errors import DataError
from fedward_models.data.reading.npz_file import write_npz

# What a pickled dictionary of arrays names, under numpy 1 and 2.
ALLOWED = {
    (f"numpy{module}", name)
    for module in ("", ".core.multiarray", "._core.multiarray", ".core.numeric", "._core.numeric")
    for name in ("ndarray", "dtype", "_reconstruct", "_frombuffer")
}
PARTS = ("train", "test")


def import_pfllib(source: Path, out: Path, *, value_range: tuple[float, float] = (-1.0, 1.0)) -> tuple[Path, ...]:
    """Write one ``client-<n>.npz`` for each client of a data set that PFLlib has split.

    Args:
        source: The data set's folder, with ``train`` and ``test``.
        out: The folder to write into.
        value_range: The values of black and white; PFLlib's own scripts normalise to -1 and 1.

    Returns:
        The files.

    Raises:
        DataError: No range, no client, a file that is none of PFLlib's, or values outside the range.
        CheckpointError: A file cannot be written.
    """
    if not value_range[0] < value_range[1]:
        raise DataError(f"black is {value_range[0]:g} and white {value_range[1]:g}: expected black below white")
    clients = sorted(int(path.stem) for path in (source / "train").glob("*.npz") if path.stem.isdecimal())
    if not clients:
        raise DataError("expected a folder with train/0.npz, train/1.npz and so on, as PFLlib writes them; found none")
    width = len(str(clients[-1]))
    paths = []
    for client in clients:
        parts = {part: _load(source / part / f"{client}.npz", client) for part in PARTS}
        paths.append(out / f"client-{client:0{width}d}.npz")
        write_npz(paths[-1], _arrays(parts, client, value_range))
    return tuple(paths)


class _ArraysOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ALLOWED:
            raise pickle.UnpicklingError("something other than arrays")
        return super().find_class(module.replace("numpy.core.", "numpy._core."), name)  # as numpy 2 calls it


def _load(path: Path, client: int) -> tuple[Array, Array]:
    """Images and class numbers of one file."""
    try:
        with zipfile.ZipFile(path) as archive:
            file = BytesIO(archive.read("data.npy"))  # all of it, so that its checksum is looked at
            np.lib.format.read_magic(file)
            np.lib.format.read_array_header_1_0(file)
            content = _ArraysOnly(file).load()
        content = content.item() if isinstance(content, np.ndarray) else content
        images, labels = np.asarray(content["x"]), np.asarray(content["y"])
    except Exception as error:  # a damaged pickle may fail in any way
        raise DataError(f"client {client}: expected a file of PFLlib with images 'x' and classes 'y'") from error
    numbers = images.dtype.kind in "fiu" and labels.dtype.kind in "iu"
    if not numbers or images.ndim != 4 or images.shape[1] not in {1, 3} or labels.shape != (len(images),):
        raise DataError(
            f"client {client}: images are {images.dtype} {images.shape} and classes {labels.dtype} {labels.shape}, "
            "expected numbers (N, C, H, W) with 1 or 3 channels and whole numbers (N,)"
        )
    return images, labels


def _arrays(parts: dict[str, tuple[Array, Array]], client: int, value_range: tuple[float, float]) -> dict[str, Array]:
    images = np.concatenate([parts[part][0] for part in PARTS])
    low, high = value_range
    if not (images.min(initial=low) >= low and images.max(initial=high) <= high):  # so that NaN lies outside too
        raise DataError(f"client {client}: pixels lie outside {low:g} to {high:g}: say the values of black and white")
    pixels = np.rint((images - low) * (255 / (high - low))).astype(np.uint8).transpose(0, 2, 3, 1)
    return {
        "images": pixels[..., 0] if pixels.shape[3] == 1 else pixels,
        "labels": np.concatenate([parts[part][1] for part in PARTS]).astype(np.int64),
        "split": np.concatenate([np.full(len(parts[part][1]), part) for part in PARTS]),
    }
