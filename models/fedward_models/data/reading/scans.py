"""The scan that an example was read from, so that what is found on the study's grid can be laid over it."""

from pathlib import Path

from fedward_core.cards import DataKind
from fedward_core.spec import Dataset
from fedward_models.data.reading.decoding import read_scan
from fedward_models.data.reading.listed_files import usable_paths
from fedward_models.data.reading.voxels import Scan
from fedward_models.data.site_data import read_site
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
