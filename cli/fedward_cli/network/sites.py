"""The hospitals of a network on this machine, and where each has its data."""

from dataclasses import dataclass
from pathlib import Path

from fedward_core.errors import DataError
from fedward_models.data.source import TABLE, locate


@dataclass(frozen=True, kw_only=True)
class Site:
    """A hospital of the network.

    Attributes:
        name: Its name.
        path: Its ``.npz`` file, or its folder with ``labels.csv``.
    """

    name: str
    path: Path


def sites_of(data: Path, names: tuple[str, ...]) -> tuple[Site, ...]:
    """The hospitals of a folder of data.

    Raises:
        DataError: A site has no file or folder of its own, but only rows in a table of all.
    """
    return tuple(_site_of(data, name) for name in names)


def _site_of(data: Path, name: str) -> Site:
    source = locate(data, name)
    if source.shared:
        raise DataError(
            "sites share one labels.csv: a network needs a file or a folder for each site, as hospitals have"
        )
    return Site(name=name, path=source.path.parent if source.path.name == TABLE else source.path)
