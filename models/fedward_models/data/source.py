"""Which sites a folder holds, and where. Nothing is decoded here.

<data>/<site>.npz                 one file for each site
<data>/<site>/labels.csv          one folder for each site, image files beside it
<data>/labels.csv                 one table for all sites, with a column ``site``; read only where there is no other
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from fedward_core.errors import DataError

TABLE = "labels.csv"
PLACES = ("file", "path", "mask", "report_file")  # columns with names of files, which are taken to the letter
COLUMNS = frozenset({*PLACES, "label", "report", "split", "patient", "site"})
Row = dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where one site's data lies.

    Attributes:
        site: The site.
        path: Its ``.npz`` file, or the table that lists its images.
        shared: Whether the table lists other sites too.
    """

    site: str
    path: Path
    shared: bool = False


def sites_in(data: Path) -> tuple[str, ...]:
    """The sites of a folder, in alphabetical order.

    Raises:
        DataError: The folder does not exist, or no site is in it.
    """
    return tuple(source.site for source in _sources(data))


def locate(data: Path, site: str) -> Source:
    """Where a site's data lies.

    Raises:
        DataError: No such folder or site; the message lists the sites that there are.
    """
    own = _own_sources(data, site)
    if own:
        return _refuse_twins(own)[0]  # without a look at the others: there may be hundreds
    sources = _sources(data)
    for source in sources:
        if source.site == site:
            return source
    known = ", ".join(source.site for source in sources)
    raise DataError(f"no data of site '{site}': the folder holds {known}")


def read_rows(source: Source) -> list[Row]:
    """The rows of a site in its table; a short row has empty cells, and an empty row is none.

    The columns that are read are known by their names whatever their case, and without the spaces around them. Cells
    have no spaces around them, but for names of files.

    Raises:
        DataError: The table cannot be opened or is not UTF-8 text, a column is there twice, or a row has too many
            cells.
    """
    rows = _rows(source.path)
    return [row for row in rows if row.get("site") == source.site] if source.shared else rows


def _own_sources(data: Path, site: str) -> list[Source]:
    """The file and the folder of a site, where they exist."""
    if not _can_be_folder(site):
        return []
    places = (data / f"{site}.npz", data / site / TABLE)
    return [Source(site=site, path=path) for path in places if path.exists()]


def _sources(data: Path) -> list[Source]:
    if not data.is_dir():
        raise DataError(
            "the data folder does not exist: expected a folder with one .npz file or one folder for each site"
        )
    # What a system hides is no site, such as the ._north.npz that a Mac leaves beside a file on a foreign disk.
    files = [Source(site=path.stem, path=path) for path in data.glob("[!.]*.npz")]
    folders = [Source(site=path.parent.name, path=path) for path in data.glob(f"[!.]*/{TABLE}")]
    sources = files + folders or _listed_sources(data / TABLE)
    if not sources:
        raise DataError(
            "no site has this dataset: expected <site>.npz files, folders with a labels.csv, or one labels.csv with a "
            "column 'site'. `fedward data list SITE` writes the labels.csv of a site's folder of images; the data "
            "folder is the one above"
        )
    return _refuse_twins(sorted(sources, key=lambda source: source.site))


def _listed_sources(table: Path) -> list[Source]:
    if not table.exists():
        return []
    of_rows = [row.get("site", "") for row in _rows(table)]
    names = set(of_rows) - {""}
    if names and "" in of_rows:  # as where a spreadsheet shows one cell for the rows of a site
        raise DataError(f"{of_rows.count('')} rows of the labels.csv of all sites name no site: name it in every row")
    if unfit := sorted(name for name in names if not _can_be_folder(name)):
        raise DataError(f"labels.csv names a site '{unfit[0]}', which no folder can be called: leave '/' out of names")
    return [Source(site=name, path=table, shared=True) for name in names]


def _can_be_folder(site: str) -> bool:
    return site not in {"", ".."} and Path(site).name == site


def _refuse_twins(sources: list[Source]) -> list[Source]:
    for first, second in pairwise(sources):
        if first.site == second.site:
            raise DataError(f"site '{first.site}' has a file and a folder: keep one of them")
    return sources


def _rows(table: Path) -> list[Row]:
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, restval="")
            reader.fieldnames = _column_names(reader.fieldnames or ())
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"cannot read a labels.csv, that of '{table.parent.name}': expected comma-separated UTF-8 text, which a "
            "spreadsheet saves as 'CSV UTF-8'"
        ) from error
    too_long = sum(any(cell.strip() for cell in row.pop(None, ())) for row in rows)
    if too_long:
        raise DataError(f"{too_long} rows of a labels.csv have more cells than its first row: quote cells with commas")
    return [_tidy(row) for row in rows if any(cell.strip() for cell in row.values())]


def _column_names(heads: Sequence[str]) -> list[str]:
    """The first row; of a column `` Patient`` that nobody reads, every image would be of a patient of its own."""
    names = [name if (name := head.strip().lower()) in COLUMNS else head for head in heads]
    if twice := sorted(name for name in COLUMNS if names.count(name) > 1):
        raise DataError(f"a labels.csv has the column '{twice[0]}' more than once: keep one of them")
    return names


def _tidy(row: Row) -> Row:
    return {name: cell.strip() if name in COLUMNS - {*PLACES} else cell for name, cell in row.items()}
