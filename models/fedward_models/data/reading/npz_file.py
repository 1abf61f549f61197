"""One ``.npz`` file for each site: arrays only, no pickles.

    images    (N, H, W) or (N, H, W, 3)   uint8; for kind image and report
    volumes   (N, D, H, W)                uint8, in canonical orientation (see ``voxels``); for kind volume
    clips     (N, T, H, W) or with 3      uint8; for kind clip
    reports   (N,)                        texts, for kind report
    labels    (N,)                        class numbers; or (N, K) zeros and ones for multi-label
    findings  (N, K)                      zeros and ones, read for multi-label in place of ``labels``
    masks     (N, H, W) or (N, D, H, W)   class numbers of pixels or voxels, for segmentation
    classes   (K,)                        names of ``labels``; ``findings_classes`` and ``masks_classes`` likewise
    split     (N,)                        train, val or test
    patient   (N,)                        any names
    spacing_mm    (3,)                    depth, height and width of a voxel of all volumes
    spacings_mm   (N, 3)                  the same of each volume, where they differ

Everything but the images, volumes, clips and reports of the study's kind may be missing.
"""

import hashlib
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from fedward_core.arrays import Array, Arrays
from fedward_core.atomic import replacing
from fedward_core.cards import DataKind, Task
from fedward_core.errors import DataError
from fedward_core.spec import Dataset
from fedward_models.data.reading.decoding import grid_of
from fedward_models.data.reading.found import BadFile, Reading, UnusableFileError
from fedward_models.data.reading.pixels import resize_array, resize_mask
from fedward_models.data.reading.video import middle
from fedward_models.data.reading.voxels import Volume, mask_on_grid, on_grid
from fedward_models.data.source import Source

EXAMPLES = {"images": (3, 4), "volumes": (4,), "clips": (4, 5)}  # by how many axes; the last one may be colour
KEYS = {DataKind.VOLUME: "volumes", DataKind.CLIP: "clips"}
PER_IMAGE = (*EXAMPLES, "spacings_mm", "reports", "labels", "findings", "masks", "split", "patient", "id")
TEXTS = ("reports", "split", "patient", "id")
PER_FILE = ("classes", "findings_classes", "masks_classes", "spacing_mm")


def read_npz(source: Source, dataset: Dataset) -> Reading:
    """Read a site's file.

    Raises:
        DataError: It is no such file, lacks what the study's kind needs, or its arrays do not fit each other.
    """
    arrays, bad = _without_empty_reports(load_npz(source), dataset, source.site)
    examples, key = _examples(arrays, dataset, source.site), _label_key(arrays, dataset.task)
    spacings = _spacings(arrays, source.site) if dataset.kind is DataKind.VOLUME else None
    return Reading(
        images=_resized(examples, spacings, dataset, source.site),
        sizes=np.tile(examples.shape[1 : 1 + len(grid_of(dataset))], (len(examples), 1)),
        labels=_labels(arrays, key, spacings, dataset, source.site),
        classes=_class_names(arrays, key),
        splits=_texts(arrays, "split"),
        patients=_texts(arrays, "patient"),
        names=_texts(arrays, "id"),
        reports=tuple(map(str, arrays["reports"])) if dataset.kind is DataKind.REPORT else None,
        spacings_mm=spacings,
        bad=bad,
        digest=_digest(source.path),
    )


def load_npz(source: Source) -> dict[str, Array]:
    """The arrays of a site's file, as they are; others than those named above are left out.

    Raises:
        DataError: It is no such file, lacks images, volumes and clips, or its arrays do not fit each other.
    """
    try:
        with source.path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: _with_text(archive[name]) for name in PER_IMAGE + PER_FILE if name in archive.files}
    except (OSError, ValueError, EOFError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(
            f"site '{source.site}': the .npz file is damaged, or holds Python objects, or texts that are no UTF-8"
        ) from error
    found = [key for key in EXAMPLES if key in arrays]
    if not found:
        raise DataError(f"site '{source.site}': the .npz file has no array 'images', 'volumes' or 'clips'")
    for key in found:
        _check_examples(arrays[key], key, source.site)
    _check_shapes(arrays, found[0], source.site)
    return arrays


def _with_text(array: Array) -> Array:
    """Bytes, as other programs keep texts, as the text that they stand for."""
    return np.char.decode(array, "utf-8") if array.dtype.kind == "S" else array


def num_examples(arrays: Arrays) -> int:
    """How many examples a site's arrays hold."""
    return next(len(arrays[key]) for key in EXAMPLES if key in arrays)


def write_npz(path: Path, arrays: Arrays) -> None:
    """Write arrays as a site's file; the same arrays always give the same bytes.

    Raises:
        CheckpointError: The disk is full or not writable.
    """
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


def _check_examples(examples: Array, key: str, site: str) -> None:
    if examples.dtype != np.uint8:
        raise DataError(f"site '{site}': {key} are {examples.dtype}, expected uint8 with 0 for black and 255 for white")
    grey = EXAMPLES[key][0]
    coloured = examples.ndim in EXAMPLES[key][1:] and examples.shape[-1] in {1, 3}
    if (examples.ndim != grey and not coloured) or 0 in examples.shape[1:]:
        axes = {"images": "(N, H, W) or (N, H, W, 3)", "volumes": "(N, D, H, W)", "clips": "(N, T, H, W), or with 3"}
        raise DataError(f"site '{site}': {key} have shape {examples.shape}, expected {axes[key]}")


def _check_shapes(arrays: Mapping[str, Array], first: str, site: str) -> None:
    count = len(arrays[first])
    for key in PER_IMAGE:
        if key in arrays and not _is_one_for_each(arrays[key], count, alone=key in TEXTS):
            raise DataError(
                f"site '{site}': '{key}' has shape {arrays[key].shape}, expected one entry for each of {count} {first}"
            )
    masked = {key: arrays[key].shape[: EXAMPLES[key][0]] for key in ("images", "volumes") if key in arrays}
    if "masks" in arrays and masked and arrays["masks"].shape not in masked.values():
        raise DataError(
            f"site '{site}': masks have shape {arrays['masks'].shape}, expected that of the {' or '.join(masked)}"
        )


def _is_one_for_each(array: Array, count: int, *, alone: bool) -> bool:
    """Whether an array has an entry for each example, and where these stand alone nothing but it."""
    return (array.shape if alone else array.shape[:1]) == (count,)


def _without_empty_reports(
    arrays: dict[str, Array], dataset: Dataset, site: str
) -> tuple[dict[str, Array], tuple[BadFile, ...]]:
    if dataset.kind is not DataKind.REPORT:
        return arrays, ()
    if "reports" not in arrays:
        raise DataError(f"site '{site}': the .npz file has no array 'reports', which kind 'report' needs")
    texts = np.char.strip(arrays["reports"].astype(str))
    empty = np.flatnonzero(texts == "")
    kept = {key: array[texts != ""] if key in PER_IMAGE else array for key, array in arrays.items()}
    bad = tuple(BadFile(name=f"image {index}", reason="its report is empty") for index in empty.tolist())
    return kept | {"reports": texts[texts != ""]}, bad


def _examples(arrays: Arrays, dataset: Dataset, site: str) -> Array:
    """(N, *grid) or (N, *grid, 3), before resizing; of clips only the frames that are used."""
    key = KEYS.get(dataset.kind, "images")
    if key not in arrays:
        raise DataError(f"site '{site}': the .npz file has no array '{key}', which kind '{dataset.kind}' needs")
    if dataset.window is not None:
        raise DataError(f"site '{site}': an .npz file is 8-bit, where dataset.window has no effect: leave it out")
    if dataset.kind is not DataKind.CLIP:
        return arrays[key]
    try:
        return arrays[key][:, np.array(middle(arrays[key].shape[1], dataset))]
    except UnusableFileError as error:
        raise DataError(f"site '{site}': clips have {error}") from None


def _spacings(arrays: Arrays, site: str) -> Array:
    """(N, 3), NaN where the file tells none."""
    count = len(arrays["volumes"])
    key, shape = ("spacings_mm", (count, 3)) if "spacings_mm" in arrays else ("spacing_mm", (3,))
    if key not in arrays:
        return np.full((count, 3), np.nan)
    spacing = arrays[key]
    if spacing.shape != shape or spacing.dtype.kind not in "iuf" or not (spacing > 0).all():
        found = f"{key} is {spacing.dtype} of shape {spacing.shape}"
        raise DataError(f"site '{site}': {found}, expected depth, height and width in mm")
    return np.broadcast_to(spacing, (count, 3)).astype(np.float64)


def _resized(examples: Array, spacings: Array | None, dataset: Dataset, site: str) -> Array:
    """(N, C, *grid), uint8."""
    grid = grid_of(dataset)
    channels = examples.shape[-1] if examples.ndim == len(grid) + 2 else 1
    resized = np.empty((len(examples), *grid, channels), dtype=np.uint8)
    for index, example in enumerate(examples):
        pixels = example[..., 0] if channels == 1 and example.ndim > len(grid) else example
        if spacings is not None:
            pixels = _resampled(pixels, spacings[index], dataset, site)
        elif dataset.kind is DataKind.CLIP:
            pixels = np.stack([resize_array(frame, dataset.image_px) for frame in pixels])
        else:
            pixels = resize_array(pixels, dataset.image_px, keep_proportions=dataset.keep_proportions)
        resized[index] = pixels.reshape(*grid, channels)
    return np.ascontiguousarray(np.moveaxis(resized, -1, 1))


def _resampled(volume: Array, spacing: Array, dataset: Dataset, site: str) -> Array:
    """8-bit voxels keep their levels: the window is the whole range."""
    whole = dataset.model_copy(update={"window": (0.0, 255.0)})
    try:
        return on_grid(Volume(values=volume, spacing_mm=_known(spacing)), whole).pixels
    except UnusableFileError as error:
        raise DataError(f"site '{site}': a volume cannot be used: {error}") from None


def _known(spacing: Array) -> tuple[float, ...] | None:
    return tuple(spacing.tolist()) if np.isfinite(spacing).all() else None


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _label_key(arrays: Mapping[str, Array], task: Task) -> str:
    if task is Task.SEGMENTATION:
        return "masks"
    return "findings" if task is Task.MULTI_LABEL and "findings" in arrays else "labels"


def _labels(arrays: Mapping[str, Array], key: str, spacings: Array | None, dataset: Dataset, site: str) -> Array | None:
    labels = arrays.get(key)
    if labels is None or key != "masks" or not len(labels):
        return labels
    if labels.ndim != 1 + len(grid_of(dataset)):  # a file may hold images and volumes, and masks of either
        raise DataError(f"site '{site}': masks have shape {labels.shape}, which is not that of kind '{dataset.kind}'")
    if spacings is not None:
        masks = (Volume(values=mask, spacing_mm=_known(own)) for mask, own in zip(labels, spacings, strict=True))
        return np.stack([mask_on_grid(mask, dataset) for mask in masks])
    px, keep_proportions = dataset.image_px, dataset.keep_proportions
    return np.stack([resize_mask(mask, px, keep_proportions=keep_proportions) for mask in labels])


def _class_names(arrays: Mapping[str, Array], key: str) -> tuple[str, ...]:
    """Names of their own, else ``classes``, which belong to ``labels`` where the file has labels."""
    names = arrays.get(f"{key}_classes")
    if names is None and (key == "labels" or "labels" not in arrays):
        names = arrays.get("classes")
    return () if names is None else tuple(map(str, names))


def _texts(arrays: Mapping[str, Array], key: str) -> Array | None:
    return arrays[key].astype(str) if key in arrays else None
