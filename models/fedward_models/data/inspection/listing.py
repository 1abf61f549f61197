"""Writes the ``labels.csv`` of a folder of files, for people to check and complete."""

import csv
from collections.abc import Callable
from pathlib import Path

from fedward_core.atomic import replacing
from fedward_core.cards import DataKind
from fedward_core.errors import DataError
from fedward_models.data.reading import video
from fedward_models.data.reading.dicom_file import dicom_files, has_frames, is_dicom, patient_of
from fedward_models.data.reading.nifti import is_nifti
from fedward_models.data.source import TABLE

PICTURES = frozenset({".jpeg", ".jpg", ".png"})


def list_files(folder: Path, kind: DataKind) -> tuple[Path, int]:
    """List what a site's folder holds.

    A file in a folder below gets that folder's name as its label; change it where it is none. The patient is the one
    that a DICOM file names, else empty: then fill it in, or delete the column if every file is of a patient of its own.

    Args:
        folder: The site's folder; the table is written into it.
        kind: What to look for: images; volumes, which are NIfTI files and folders of DICOM slices; or clips, which are
            videos, DICOM files of several frames, and volumes.

    Returns:
        The table, and how many files it lists.

    Raises:
        DataError: There is a table already, nothing to list, or a name that is no UTF-8 text.
        CheckpointError: The table cannot be written.
    """
    table = folder / TABLE
    if table.exists():
        raise DataError("there is a labels.csv already: move it away to write another one")
    found = _FINDERS.get(kind, _images)(folder)
    if not found:
        raise DataError(f"found no file of kind '{kind}' to list")
    rows = [_row(path, folder) for path in found]
    _check_names(rows)
    with replacing(table) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("file", "label", "patient"))
        writer.writerows(rows)
    return table, len(found)


def _check_names(rows: list[tuple[str, str, str]]) -> None:
    """Refuse names that are other bytes than UTF-8, which Python keeps as half characters that no file can hold."""
    unfit = sum(any("\ud800" <= sign <= "\udfff" for sign in name) for name, _, _ in rows)
    if unfit:
        raise DataError(
            f"{unfit} of {len(rows)} names are no UTF-8 text, as a labels.csv has to be: rename these files"
        )


def _row(path: Path, folder: Path) -> tuple[str, str, str]:
    relative = path.relative_to(folder)
    named = next(iter(dicom_files(path)), path) if path.is_dir() else path  # a scanner's notes may lie among the slices
    return str(relative), relative.parts[0] if len(relative.parts) > 1 else "", patient_of(named)


def _images(folder: Path) -> list[Path]:
    return _files(folder, lambda path: path.suffix.lower() in PICTURES or is_dicom(path))


def _volumes(folder: Path) -> list[Path]:
    series = {path.parent for path in _files(folder, is_dicom)} - {folder}
    return sorted([*_files(folder, is_nifti), *series])


def _clips(folder: Path) -> list[Path]:
    """A folder with DICOM files of several frames holds clips, stills among them; one without is itself a series."""
    files = _files(folder, is_dicom)
    of_clips = {path.parent for path in files if has_frames(path)}
    series = {path.parent for path in files} - {folder, *of_clips}
    videos = _files(folder, lambda path: path.suffix.lower() in video.SUFFIXES or is_nifti(path))
    return sorted([*videos, *series, *(path for path in files if path.parent in of_clips)])


def _files(folder: Path, wanted: Callable[[Path], bool]) -> list[Path]:
    """Those that no system hides, at any depth."""
    found = (path for path in folder.rglob("*") if path.is_file() and not _is_hidden(path.relative_to(folder)))
    return sorted(filter(wanted, found))


def _is_hidden(relative: Path) -> bool:
    return any(part.startswith(".") for part in relative.parts)


_FINDERS = {DataKind.VOLUME: _volumes, DataKind.CLIP: _clips}
