"""Where the coordinator keeps frozen weights: safetensors files, each under its digest."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from fedward_core.config import SHA256
from fedward_core.frozen_weights import GIGABYTE, MOST_GB, SUFFIX
from fedward_server.errors import NotFoundError
from fedward_server.weights.models import Weights


@dataclass(frozen=True)
class Shelf:
    """A folder of frozen weights.

    Attributes:
        folder: The folder; made when the first file comes.
        most_bytes: The size of the largest file that is taken.
    """

    folder: Path
    most_bytes: int = int(MOST_GB * GIGABYTE)

    def all(self) -> list[Weights]:
        """Every file, the newest first."""
        found = (self.find(path.stem) for path in self.folder.glob(f"*{SUFFIX}") if re.match(SHA256, path.stem))
        return sorted((one for one in found if one is not None), key=lambda one: -one.added_s)

    def find(self, sha256: str) -> Weights | None:
        """One file; None where there is none."""
        try:
            facts = self._path(sha256).stat()
        except FileNotFoundError:
            return None
        return Weights(sha256=sha256, size_bytes=facts.st_size, added_s=facts.st_mtime)

    def open(self, sha256: str) -> BinaryIO:
        """Open a file to be sent; it can be read to its end also where it is removed meanwhile.

        Raises:
            NotFoundError: There is none.
        """
        try:
            return self._path(sha256).open("rb")
        except FileNotFoundError:
            raise _missing(sha256) from None

    def remove(self, sha256: str) -> None:
        """Remove a file; sites that have fetched it keep it.

        Raises:
            NotFoundError: There is none.
        """
        try:
            self._path(sha256).unlink()
        except FileNotFoundError:
            raise _missing(sha256) from None

    def _path(self, sha256: str) -> Path:
        return self.folder / f"{sha256}{SUFFIX}"


def _missing(sha256: str) -> NotFoundError:
    return NotFoundError(f"there are no weights with sha256 {sha256}: add them by `fedward weights add`")
