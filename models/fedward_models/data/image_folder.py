"""Image files listed in a ``labels.csv``, for one site or for several.

    file      the image, from the table's folder; ``path`` is the same
    label     the class, by name or number; several with ``|`` between them for multi-label
    mask      a grey or palette PNG of class numbers, as large as the image, for segmentation
    split     train, val or test
    patient   any name
    site      in a table for several sites

Everything but ``file`` may be missing. Grey films and colour photographs are told apart by what they show, not by how
they are stored: many films are kept as RGB. A site is what most of its images are; the rest is converted.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from fedward_core.arrays import Array
from fedward_core.cards import Task
from fedward_core.errors import DataError
from fedward_core.spec import Dataset
from fedward_models.data import labels
from fedward_models.data.pixels import UnusableImageError, decode, decode_mask, is_colour, resize, resize_mask
from fedward_models.data.reading import BadFile, Reading
from fedward_models.data.source import Row, Source, read_rows


class Picture(NamedTuple):
    """A decoded file: (px, px) or (px, px, 3) pixels, its height and width, (px, px) mask, and its row in the table."""

    pixels: Array
    size: tuple[int, int]
    mask: Array | None
    row: Row


def read_folder(source: Source, dataset: Dataset) -> Reading:
    """Read the images that a table lists for a site.

    Raises:
        DataError: The table cannot be read or lacks a column, or a label is no class.
    """
    rows = read_rows(source)
    column = _file_column(rows, source.site)
    pictures, bad = _read_pictures(source, rows, column, dataset)
    usable = [picture.row for picture in pictures]
    targets, classes = _targets(source, usable, pictures, dataset)
    return Reading(
        images=_stack(pictures, dataset.image_px),
        sizes=np.array([picture.size for picture in pictures], dtype=np.int64).reshape(-1, 2),
        labels=targets,
        classes=classes,
        splits=_column(usable, "split"),
        patients=_column(usable, "patient"),
        bad=tuple(bad),
        digest=_digest(source.path.parent, rows, column),
    )


def _file_column(rows: list[Row], site: str) -> str:
    for column in ("file", "path"):
        if not rows or column in rows[0]:
            return column
    raise DataError(f"site '{site}': labels.csv has no column 'file'; found {', '.join(rows[0])}")


def _read_pictures(
    source: Source, rows: list[Row], column: str, dataset: Dataset
) -> tuple[list[Picture], list[BadFile]]:
    pictures, bad = [], []
    for row in rows:
        try:
            pictures.append(_read_picture(source.path.parent, row, column, dataset))
        except UnusableImageError as error:
            bad.append(BadFile(name=row[column], reason=str(error)))
    return pictures, bad


def _read_picture(folder: Path, row: Row, column: str, dataset: Dataset) -> Picture:
    image = decode(folder / row[column])
    size = (image.height, image.width)
    mask = None
    if dataset.task is Task.SEGMENTATION and "mask" in row:
        mask = resize_mask(decode_mask(folder / row["mask"], size), dataset.image_px)
    return Picture(pixels=resize(image, dataset.image_px), size=size, mask=mask, row=row)


def _stack(pictures: Sequence[Picture], px: int) -> Array:
    in_colour = sum(picture.pixels.ndim == 3 and is_colour(picture.pixels) for picture in pictures)
    mode, channels = ("RGB", 3) if 2 * in_colour > len(pictures) else ("L", 1)
    images = np.empty((len(pictures), channels, px, px), dtype=np.uint8)
    for place, picture in zip(images, pictures, strict=True):
        pixels = np.asarray(Image.fromarray(picture.pixels).convert(mode))
        place[...] = pixels.reshape(px, px, channels).transpose(2, 0, 1)
    return images


def _targets(
    source: Source, rows: list[Row], pictures: Sequence[Picture], dataset: Dataset
) -> tuple[Array | None, tuple[str, ...]]:
    if dataset.task is Task.SEGMENTATION:
        masks = [picture.mask for picture in pictures if picture.mask is not None]
        return (np.stack(masks) if masks else None), ()
    if not rows or "label" not in rows[0]:
        return None, ()
    classes = dataset.classes or _classes_of_table(source, dataset.task)
    texts = [row["label"].strip() for row in rows]
    return labels.encode(texts, site=source.site, task=dataset.task, classes=classes), classes


def _classes_of_table(source: Source, task: Task) -> tuple[str, ...]:
    """The labels of the whole table, so that its sites agree; in alphabetical order, or by number."""
    whole = Source(site=source.site, path=source.path)
    texts = {row["label"].strip() for row in read_rows(whole)} - {""}
    if task is Task.MULTI_LABEL:
        texts = {name for text in texts for name in labels.split_findings(text)}
    if texts and all(text.isdecimal() for text in texts):
        return tuple(f"class {number}" for number in range(max(map(int, texts)) + 1))
    return tuple(sorted(texts))


def _column(rows: list[Row], name: str) -> Array | None:
    return np.array([row[name] for row in rows], dtype=str) if rows and name in rows[0] else None


def _digest(folder: Path, rows: list[Row], column: str) -> str:
    hasher = hashlib.sha256()
    for row in rows:
        hasher.update(repr(sorted(row.items())).encode())
        path = folder / row[column]
        hasher.update(hashlib.sha256(path.read_bytes()).digest() if path.is_file() else b"missing")
    return hasher.hexdigest()
