"""A data folder in which one more site holds the images of all: an upper bound, where hospitals are simulated."""

import shutil
from pathlib import Path

from fedward_core.errors import DataError

_SOURCES = ".sources"  # beside each pooled folder: links to the files that are pooled
_REMEDY = "choose another --out, or give --fresh"


def pooled_folder(folder: Path, data: Path, *, kept: tuple[str, ...], sites: tuple[str, ...]) -> Path:
    """Make a folder with links to the sites' files, and with ``pooled.npz``; one that is there is used.

    Args:
        folder: Where it is made.
        data: The folder with an ``.npz`` file for each site.
        kept: The sites whose images are pooled.
        sites: The sites that are linked.

    Raises:
        DataError: A site bears the name of the pooled one, the sites' files cannot be pooled, or the folder holds the
            images of another data folder or of other sites, or older ones.
    """
    from fedward_models.data.splitting.pooling import POOLED, pool_sites  # imports torch

    if POOLED in sites:
        raise DataError(f"a site is called '{POOLED}', which is the name of all sites together: rename its file")
    sources, pooled = folder.with_name(f".{folder.name}{_SOURCES}"), folder / f"{POOLED}.npz"
    _refuse_other_sites(sources, pooled, kept)
    _link(sources, data, kept)
    _link(folder, data, sites)
    if not pooled.exists():
        pool_sites(sources, folder)
    elif any((sources / f"{site}.npz").stat().st_mtime_ns > pooled.stat().st_mtime_ns for site in kept):
        raise DataError(f"images have changed since they were pooled in '{folder.name}': {_REMEDY}")
    return folder


def remove_pooled(home: Path) -> None:
    """Remove every pooled folder that was made in a folder, and nothing else that is there."""
    for sources in home.glob(f".*{_SOURCES}"):
        folder = home / sources.name.removeprefix(".").removesuffix(_SOURCES)
        if folder.exists():
            shutil.rmtree(folder)
        shutil.rmtree(sources)


def _refuse_other_sites(sources: Path, pooled: Path, kept: tuple[str, ...]) -> None:
    linked = {path.stem for path in sources.glob("*.npz")}
    if linked - set(kept) or (pooled.exists() and linked != set(kept)):
        raise DataError(
            f"the images that were pooled in '{pooled.parent.name}' are of the sites {', '.join(sorted(linked))}, "
            f"expected {', '.join(kept)}: {_REMEDY}"
        )


def _link(folder: Path, data: Path, sites: tuple[str, ...]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for site in sites:
        source, link = (data / f"{site}.npz").resolve(), folder / f"{site}.npz"
        if not source.exists():
            raise DataError(f"site '{site}' is a folder of files: only sites with an .npz file can be pooled")
        if not link.is_symlink():
            link.symlink_to(source)
        elif link.resolve() != source:
            raise DataError(f"the images that were pooled in '{folder.name}' are of another data folder: {_REMEDY}")
