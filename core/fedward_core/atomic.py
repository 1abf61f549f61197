"""Files that are written whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from safetensors import SafetensorError

from fedward_core.errors import CheckpointError
from fedward_core.processes.kernel import identity

PART = ".part"


@contextmanager
def replacing(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """A temporary path beside ``path`` that takes its place, flushed to disk, when the block ends well.

    Raises:
        CheckpointError: Writing failed; what stood at ``path`` is as it was.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}{PART}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        if durable:
            flush_to_disk(temporary)
        temporary.replace(path)
        if durable:
            flush_to_disk(path.parent)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"cannot write '{path.name}': {_reason(error)}. The previous file is untouched."
        ) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def drop_leftovers(folder: Path) -> None:
    """Remove from a folder what processes that were killed had written half; of those that live, everything stays."""
    for part in folder.glob(f".*{PART}"):
        writer = part.name.split(".")[-2]
        if writer.isdigit() and identity(int(writer)) is None:
            with suppress(OSError):
                part.unlink(missing_ok=True)


def flush_to_disk(path: Path) -> None:
    """Wait until a file, or the names in a folder, would survive a loss of power."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _reason(error: Exception) -> str:
    return (error.strerror or "the disk refused") if isinstance(error, OSError) else str(error)
