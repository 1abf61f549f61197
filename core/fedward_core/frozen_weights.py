"""Frozen weights that arrive piece by piece: kept under their digest if they are what was named, and else not at all.

    pieces --> <folder>/.<digest>.<...>.part --(digest, header)--> <folder>/<digest>.safetensors

Whoever sends the bytes chooses neither folder nor name, and only safetensors are kept, which hold numbers and no code.
"""

import hashlib
import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Self

from safetensors import SafetensorError, safe_open

from fedward_core.atomic import PART, drop_leftovers, flush_to_disk, writer_of
from fedward_core.errors import CheckpointError, DataError

SUFFIX = ".safetensors"
GIGABYTE = 10**9
# Decided here: weights of two thousand million parameters of 32 bits, more than any tower or teacher of the zoo has.
MOST_GB = 8.0


class Arrival:
    """One file on its way; a context manager that leaves nothing behind of a file which was not kept.

    Args:
        folder: Where it will lie; made if need be.
        sha256: Its digest, 64 hexadecimal digits.

    Attributes:
        size: How many bytes have come.

    Raises:
        CheckpointError: The folder cannot be written to, in any of its methods.
    """

    def __init__(self, folder: Path, sha256: str) -> None:
        self._path = folder / f"{sha256}{SUFFIX}"
        self._sha256 = sha256
        self._part = folder / f".{sha256}.{secrets.token_hex(4)}.{writer_of(os.getpid())}{PART}"
        self._digest = hashlib.sha256()
        self.size = 0

    def add(self, piece: bytes) -> None:
        """Write the next piece."""
        try:
            self._file.write(piece)
        except OSError as error:
            raise _unwritable(error) from error
        self._digest.update(piece)
        self.size += len(piece)

    def keep(self) -> None:
        """Let the whole file take its place, flushed to disk.

        Raises:
            DataError: It has another digest than was named, or is no safetensors file.
        """
        try:
            self._file.close()
            self._check()
            flush_to_disk(self._part)
            self._part.replace(self._path)
            flush_to_disk(self._path.parent)
        except OSError as error:
            raise _unwritable(error) from error

    def __enter__(self) -> Self:
        try:
            self._part.parent.mkdir(parents=True, exist_ok=True)
            drop_leftovers(self._part.parent)
            self._file = self._part.open("xb")
            self._part.chmod(0o644)  # the folder says who may read: client apps may have a user of their own
        except OSError as error:
            raise _unwritable(error) from error
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._file.close()
        with suppress(OSError):
            self._part.unlink(missing_ok=True)

    def _check(self) -> None:
        if self._digest.hexdigest() != self._sha256:
            raise DataError(
                f"the file that came is not the one that was named: expected sha256 {self._sha256}, found "
                f"{self._digest.hexdigest()} of {self.size} bytes"
            )
        check_safetensors(self._part)


def check_safetensors(path: Path) -> None:
    """Make sure that a file is one of safetensors, by its header; no array is read.

    Raises:
        DataError: It is not.
    """
    try:
        with safe_open(path, framework="np"):
            return
    except SafetensorError as error:
        raise DataError(
            f"the file is no safetensors file ({error}): a pickled checkpoint can run code when it is opened, and is "
            "not taken. Convert it with torch.load(..., weights_only=True) and safetensors.torch.save_file"
        ) from None


def _unwritable(error: OSError) -> CheckpointError:
    return CheckpointError(f"the frozen weights cannot be written: {error.strerror or 'the disk refused'}")
