"""Files listed in a ``labels.csv``, for one site or for several.

    file         the image, volume, clip, or folder with the slices of a DICOM series; ``path`` is the same
    label        the class, by name or number; several with ``|`` between them for multi-label
    mask         class numbers, for segmentation: a grey or palette PNG as large as the image, or a NIfTI file on the
                 grid of the volume
    report       the text that was written about the image; or ``report_file``, a UTF-8 text file
    split        train, val or test
    patient      any name
    site         in a table for several sites

Files are relative to the table's folder. Everything but ``file`` may be missing; a column of classes may be empty
throughout. Grey films and colour photographs are told apart by what they show, not by how they are stored: many films
are kept as RGB. A site is what most of its images are; the rest is converted.
"""

import hashlib
import os
import stat
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fedward_core.arrays import Array
from fedward_core.cards import DataKind, Task
from fedward_core.errors import DataError
from fedward_core.spec import Dataset
from fedward_models.data import labels
from fedward_models.data.reading.decoding import decode_file, grid_of
from fedward_models.data.reading.found import BadFile, Reading, UnusableFileError
from fedward_models.data.reading.masks import read_mask
from fedward_models.data.reading.pile import Pile
from fedward_models.data.source import COLUMNS, Row, Source, read_rows


class Facts(NamedTuple):
    """What is kept of a usable file beside its pixels."""

    row: Row
    size: tuple[int, ...]
    spacing_mm: tuple[float, ...] | None
    mask: Array | None
    report: str | None


def read_listed_files(source: Source, dataset: Dataset) -> Reading:
    """Read the files that a table lists for a site.

    Raises:
        DataError: The table cannot be read, lacks a column or lists a file twice, or a label is no class.
    """
    rows = read_rows(source)
    column = _file_column(rows, source.site)
    _refuse_repeated(rows, column, source.site)
    _check_reports(rows, dataset, source.site)
    with Pile(grid_of(dataset)) as pile:
        usable, bad = _read_files(source, rows, column, dataset, pile)
        images = pile.stack()
    targets, classes = _targets(source, usable, dataset)
    return Reading(
        images=images,
        sizes=_table([facts.size for facts in usable], np.int64, len(grid_of(dataset))),
        labels=targets,
        classes=classes,
        splits=_column(usable, "split"),
        patients=_column(usable, "patient"),
        names=_column(usable, column),
        reports=tuple(facts.report or "" for facts in usable) if dataset.kind is DataKind.REPORT else None,
        spacings_mm=_spacings(usable) if dataset.kind is DataKind.VOLUME else None,
        bad=tuple(bad),
        digest=_digest(source.path.parent, rows, column),
    )


def listed_paths(source: Source) -> list[Path]:
    """Everything that a site's data is read from: the table, and each file and slice that it lists."""
    rows = read_rows(source)
    column = _file_column(rows, source.site)
    folder = source.path.parent
    listed = [path for row in rows for path in _files_at(folder / row[column])]
    return [source.path, *listed, *(folder / name for row in rows for name in _names_beside(row))]


def usable_paths(source: Source, bad: Collection[str]) -> list[Path]:
    """The files, or folders of slices, of the usable examples, in their order.

    Args:
        source: A table.
        bad: The files that were skipped, as the table names them.
    """
    rows = read_rows(source)
    column = _file_column(rows, source.site)
    return [source.path.parent / row[column] for row in rows if row[column] not in bad]


def _names_beside(row: Row) -> list[str]:
    """The mask and the report that a row names beside its file."""
    return [row[key] for key in ("mask", "report_file") if row.get(key)]


def _files_at(path: Path) -> list[Path]:
    """A file itself, or the files of a folder that can be opened."""
    try:
        return sorted(inner for inner in path.iterdir() if inner.is_file()) if path.is_dir() else [path]
    except OSError:
        return [path]


def _file_column(rows: list[Row], site: str) -> str:
    for column in ("file", "path"):
        if not rows or column in rows[0]:
            return column
    # Without a first row of names, the first patient's stands there: only words that are no patient's are told.
    found = sorted(COLUMNS & rows[0].keys())
    raise DataError(
        f"site '{site}': labels.csv has no column 'file'; of the others that are read it has "
        f"{', '.join(found) or 'none'}. Its first row names the columns, as in "
        f"file,label,patient, with commas between the cells{_other_separator(rows[0])}"
    )


def _other_separator(names: Collection[str]) -> str:
    """What stands in place of commas, where it is seen that something does."""
    for sign, called in ((";", "semicolons"), ("\t", "tabs")):
        if any({"file", "path"} & set(name.lower().split(sign)) for name in names if sign in name):
            return f", where {called} are found: save it with commas"
    return ""


def _refuse_repeated(rows: list[Row], column: str, site: str) -> None:
    """A file in two rows would be two examples; where no patient is named, those of two, and so in two splits."""
    listed = [os.path.normpath(row[column]) for row in rows if row[column].strip()]
    if repeated := len(listed) - len(set(listed)):
        raise DataError(
            f"site '{site}': {repeated} rows of labels.csv list a file that another row lists too: give each file one "
            "row. Several findings stand in one cell, as in effusion|nodule"
        )


def _check_reports(rows: list[Row], dataset: Dataset, site: str) -> None:
    if dataset.kind is DataKind.REPORT and rows and not {"report", "report_file"} & set(rows[0]):
        raise DataError(f"site '{site}': labels.csv has no column 'report' or 'report_file', which kind 'report' needs")


def _read_files(
    source: Source, rows: list[Row], column: str, dataset: Dataset, pile: Pile
) -> tuple[list[Facts], list[BadFile]]:
    usable, bad = [], []
    for row in rows:
        try:
            usable.append(_read_file(source.path.parent, row, column, dataset, pile))
        except UnusableFileError as error:
            bad.append(BadFile(name=row[column], reason=str(error)))
    return usable, bad


def _read_file(folder: Path, row: Row, column: str, dataset: Dataset, pile: Pile) -> Facts:
    if not row[column].strip():
        raise UnusableFileError("its row names no file")
    if not _is_there(folder / row[column]):
        raise UnusableFileError("not there: names begin at the table's folder and have / between folders")
    if any(_is_endless(folder / name) for name in (row[column], *_names_beside(row))):
        raise UnusableFileError("a pipe or a device: expected files")
    report = _report(folder, row) if dataset.kind is DataKind.REPORT else None
    decoded = decode_file(folder / row[column], dataset)
    masked = dataset.task is Task.SEGMENTATION and "mask" in row
    mask = read_mask(folder / row["mask"], folder / row[column], decoded, dataset) if masked else None
    pile.add(decoded.pixels)
    return Facts(row=row, size=decoded.size, spacing_mm=decoded.spacing_mm, mask=mask, report=report)


def _is_there(path: Path) -> bool:
    """Whether there is such a file, or may be one in a folder that is locked, as whoever opens it will tell."""
    try:
        path.stat()
    except PermissionError:
        return True
    except (OSError, ValueError):
        return False
    return True


def _is_endless(path: Path) -> bool:
    """Whether neither a file nor a folder is there, but something whose end a reader might never come to."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def _report(folder: Path, row: Row) -> str:
    text = row.get("report", "")
    if row.get("report_file"):
        try:
            text = (folder / row["report_file"]).read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise UnusableFileError("its report is missing or no UTF-8 text") from error
    if not text.strip():
        raise UnusableFileError("its report is empty")
    return text.strip()


def _targets(source: Source, usable: Sequence[Facts], dataset: Dataset) -> tuple[Array | None, tuple[str, ...]]:
    if dataset.task is Task.SEGMENTATION:
        masks = [facts.mask for facts in usable if facts.mask is not None]
        return (np.stack(masks) if masks else None), ()
    texts = [facts.row["label"].strip() for facts in usable if "label" in facts.row]
    unlabelled = dataset.task is Task.CLASSIFICATION and not any(texts)
    if unlabelled or not texts:
        return None, ()
    classes = dataset.classes or _classes_of_table(source, dataset.task)
    return labels.encode(texts, site=source.site, task=dataset.task, classes=classes), classes


def _classes_of_table(source: Source, task: Task) -> tuple[str, ...]:
    """The labels of the whole table, so that its sites agree; in alphabetical order, or by number."""
    whole = Source(site=source.site, path=source.path)
    texts = {row["label"].strip() for row in read_rows(whole)} - {""}
    if task is Task.MULTI_LABEL:
        texts = {name for text in texts for name in labels.split_findings(text)}
    if texts and all(text.isdecimal() for text in texts):
        return labels.numbered_classes(max(map(int, texts)) + 1)
    return tuple(sorted(texts))


def _column(usable: Sequence[Facts], name: str) -> Array | None:
    return np.array([facts.row[name] for facts in usable], dtype=str) if usable and name in usable[0].row else None


def _table(rows: Sequence[tuple[float, ...]], dtype: type, columns: int) -> Array:
    return np.array(rows, dtype=dtype).reshape(-1, columns)


def _spacings(usable: Sequence[Facts]) -> Array:
    return _table([facts.spacing_mm or (np.nan,) * 3 for facts in usable], np.float64, 3)


def _digest(folder: Path, rows: list[Row], column: str) -> str:
    hasher = hashlib.sha256()
    for row in rows:
        hasher.update(repr(sorted(row.items())).encode())
        for content in _contents(folder, row, column):
            hasher.update(content)
    return hasher.hexdigest()


def _contents(folder: Path, row: Row, column: str) -> Iterator[bytes]:
    """The SHA-256 of each file of a row."""
    for path in (inner for name in (row[column], *_names_beside(row)) for inner in _files_at(folder / name)):
        yield _content(path)


def _content(path: Path) -> bytes:
    try:
        if not path.is_file():
            return b"missing"
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError:
        return b"missing"
