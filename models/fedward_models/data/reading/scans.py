"""The scan that an example was read from, so that what is found on the study's grid can be laid over it."""

from pathlib import Path

from fedward_core.cards import DataKind
from fedward_core.spec import Dataset
from fedward_models.data.reading.decoding import grid_of, read_scan
from fedward_models.data.reading.listed_files import usable_paths
from fedward_models.data.reading.voxels import Scan
from fedward_models.data.site_data import SiteData, read_site
from fedward_models.data.source import TABLE, locate


def scan_of(data: Path, site: str, dataset: Dataset, index: int) -> Scan | None:
    """Read the scan of one example again; None where there is none: of images, clips, and arrays in ``.npz`` files.

    Args:
        data: The folder with all datasets.
        site: The site.
        dataset: How the study reads it.
        index: The example's place among the site's usable ones, counted from 0.

    Raises:
        DataError: The site cannot be read.
    """
    source = locate(data, site)
    if dataset.kind is not DataKind.VOLUME or source.path.name != TABLE:
        return None
    content = read_site(data, site, dataset)
    paths = usable_paths(source, {file.name for file in content.bad})
    assert len(paths) == len(content.images)
    return read_scan(paths[index])


def spacing_on_grid(content: SiteData, index: int, dataset: Dataset) -> tuple[float, ...] | None:
    """Depth, height and width in mm of a voxel of the study's grid, where it is known.

    A whole volume is resized to the grid, and its voxels with it, unless the study fixes their size.

    Args:
        content: The site's data.
        index: The example's place among the site's usable ones, counted from 0.
        dataset: How the study reads it.
    """
    own = content.contract.spacing_mm
    if own is None or dataset.spacing_mm is not None:
        return own
    sizes = content.sizes[index].tolist()
    return tuple(mm * size / new for mm, size, new in zip(own, sizes, grid_of(dataset), strict=True))
