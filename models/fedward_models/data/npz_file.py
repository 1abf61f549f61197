"""One ``.npz`` file for each site: arrays only, no pickles.

    images    (N, H, W) or (N, H, W, 3)   uint8
    labels    (N,)                        class numbers; or (N, K) zeros and ones for multi-label
    findings  (N, K)                      zeros and ones, read for multi-label in place of ``labels``
    masks     (N, H, W)                   class numbers, for segmentation
    classes   (K,)                        names of ``labels``; ``findings_classes`` and ``masks_classes`` likewise
    split     (N,)                        train, val or test
    patient   (N,)                        any names
    spacing_mm                            height and width of a pixel

Everything but the images may be missing.
"""

import hashlib
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from fedward_core.arrays import Array, Arrays, replacing
from fedward_core.cards import Task
from fedward_core.errors import DataError
from fedward_core.spec import Dataset
from fedward_models.data.pixels import resize_array, resize_mask
from fedward_models.data.reading import Reading
from fedward_models.data.source import Source

PER_IMAGE = ("images", "labels", "findings", "masks", "split", "patient", "id")
PER_FILE = ("classes", "findings_classes", "masks_classes", "spacing_mm")


def read_npz(source: Source, dataset: Dataset) -> Reading:
    """Read a site's file.

    Raises:
        DataError: It is no such file, lacks images, or its arrays do not fit each other.
    """
    arrays = load_npz(source)
    images, key = arrays["images"], _label_key(arrays, dataset.task)
    return Reading(
        images=_resized(images, dataset.image_px),
        sizes=np.tile(images.shape[1:3], (len(images), 1)),
        labels=_labels(arrays, key, dataset),
        classes=_class_names(arrays, key),
        splits=_texts(arrays, "split"),
        patients=_texts(arrays, "patient"),
        spacing_mm=tuple(map(float, np.ravel(arrays["spacing_mm"]))) if "spacing_mm" in arrays else None,
        digest=hashlib.sha256(source.path.read_bytes()).hexdigest(),
    )


def load_npz(source: Source) -> dict[str, Array]:
    """The arrays of a site's file, as they are; others than those named above are left out.

    Raises:
        DataError: It is no such file, lacks images, or its arrays do not fit each other.
    """
    try:
        with source.path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in PER_IMAGE + PER_FILE if name in archive.files}
    except (OSError, ValueError, EOFError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"site '{source.site}': the .npz file is damaged, or holds Python objects") from error
    _check_images(arrays, source.site)
    _check_shapes(arrays, source.site)
    return arrays


def write_npz(path: Path, arrays: Arrays) -> None:
    """Write arrays as a site's file; the same arrays always give the same bytes.

    Raises:
        CheckpointError: The disk is full or not writable.
    """
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


def _check_images(arrays: Mapping[str, Array], site: str) -> None:
    if "images" not in arrays:
        raise DataError(f"site '{site}': the .npz file has no array 'images'")
    images = arrays["images"]
    if images.dtype != np.uint8:
        raise DataError(f"site '{site}': images are {images.dtype}, expected uint8 with 0 for black and 255 for white")
    if images.ndim != 3 and (images.ndim != 4 or images.shape[3] not in (1, 3)):
        raise DataError(f"site '{site}': images have shape {images.shape}, expected (N, H, W) or (N, H, W, 3)")


def _check_shapes(arrays: Mapping[str, Array], site: str) -> None:
    count, *size = arrays["images"].shape[:3]
    for key in PER_IMAGE:
        if key in arrays and arrays[key].shape[:1] != (count,):
            raise DataError(
                f"site '{site}': '{key}' has shape {arrays[key].shape}, expected one entry for each of {count} images"
            )
    if "masks" in arrays and arrays["masks"].shape[1:] != tuple(size):
        raise DataError(f"site '{site}': masks have shape {arrays['masks'].shape}, expected that of the images")


def _resized(images: Array, px: int) -> Array:
    channels = images.shape[3] if images.ndim == 4 else 1
    pixels = images[..., 0] if channels == 1 and images.ndim == 4 else images
    resized = np.empty((len(images), px, px, channels), dtype=np.uint8)
    for place, image in zip(resized, pixels, strict=True):
        place[...] = resize_array(image, px).reshape(px, px, channels)
    return np.ascontiguousarray(resized.transpose(0, 3, 1, 2))


def _label_key(arrays: Mapping[str, Array], task: Task) -> str:
    if task is Task.SEGMENTATION:
        return "masks"
    return "findings" if task is Task.MULTI_LABEL and "findings" in arrays else "labels"


def _labels(arrays: Mapping[str, Array], key: str, dataset: Dataset) -> Array | None:
    labels = arrays.get(key)
    if labels is None or key != "masks" or not len(labels):
        return labels
    return np.stack([resize_mask(mask, dataset.image_px) for mask in labels])


def _class_names(arrays: Mapping[str, Array], key: str) -> tuple[str, ...]:
    """Names of their own, else ``classes``, which belong to ``labels`` where the file has labels."""
    names = arrays.get(f"{key}_classes")
    if names is None and (key == "labels" or "labels" not in arrays):
        names = arrays.get("classes")
    return () if names is None else tuple(map(str, names))


def _texts(arrays: Mapping[str, Array], key: str) -> Array | None:
    return arrays[key].astype(str) if key in arrays else None
