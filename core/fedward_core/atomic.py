"""Files, and folders of files, that are written whole or not at all."""

import glob
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from safetensors import SafetensorError

from fedward_core.errors import CheckpointError
from fedward_core.processes.kernel import identity

PART = ".part"


@contextmanager
def replacing(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """A temporary path beside ``path`` that takes its place when the block ends well.

    Args:
        path: The file; its folder is made.
        durable: Flush to disk before the file takes its place: needed where it must survive a loss of power.

    Raises:
        CheckpointError: Writing failed; what stood at ``path`` is as it was.
    """
    temporary = _beside(path)
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


def write_secret(path: Path, content: bytes, *, durable: bool = True) -> None:
    """Write a file that nobody but its user can read at any moment, whole or not at all.

    Args:
        path: The file; its folder is made.
        content: All of it.
        durable: As of :func:`replacing`.

    Raises:
        CheckpointError: Writing failed; what stood at ``path`` is as it was.
    """
    with replacing(path, durable=durable) as temporary:
        temporary.unlink(missing_ok=True)  # one that was left there may be open to others
        with open(temporary, "xb", opener=partial(os.open, mode=0o600)) as file:
            file.write(content)


@contextmanager
def filling(folder: Path) -> Iterator[Path]:
    """A temporary folder beside ``folder`` that takes its name, flushed to disk, when the block ends well.

    Its owner alone can read it. What processes that were killed had begun of the same folder is removed first.

    Args:
        folder: What there is not yet.

    Raises:
        CheckpointError: Writing failed, or the folder is there by now; nothing is left of what was written.
    """
    temporary = _beside(folder)
    try:
        drop_leftovers(folder.parent, of=folder.name)
        temporary.mkdir(mode=0o700, parents=True)
        yield temporary
        for path in (*temporary.rglob("*"), temporary):
            flush_to_disk(path)
        temporary.rename(folder)
        flush_to_disk(folder.parent)
    except OSError as error:
        raise CheckpointError(f"cannot write '{folder.name}': {_reason(error)}. Nothing is left of it.") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def drop_leftovers(folder: Path, *, of: str | None = None) -> None:
    """Remove from a folder what processes that were killed had written half; of those that live, everything stays.

    Args:
        folder: Where it lies.
        of: What it was to become, by its name; whatever it was by default.
    """
    for part in folder.glob(f".*{PART}" if of is None else f".{glob.escape(of)}.*{PART}"):
        if _has_ended(part.name.split(".")[-2]):
            with suppress(OSError):
                shutil.rmtree(part) if part.is_dir() else part.unlink(missing_ok=True)


def writer_of(pid: int) -> str:
    """How the name of what a process writes tells which one it is: its id, its start, and the boot of the machine.

    A container starts its processes with the same ids each time, so that an id alone would often seem alive.
    """
    facts = identity(pid)
    return str(pid) if facts is None else f"{pid}-{facts['started']}-{str(facts['boot'])[:8]}"


def flush_to_disk(path: Path) -> None:
    """Wait until a file, or the names in a folder, would survive a loss of power."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{writer_of(os.getpid())}{PART}")


def _has_ended(writer: str) -> bool:
    """Whether a process that wrote has ended; a release before this one named it by its id alone."""
    pid = writer.partition("-")[0]
    if not pid.isdigit():
        return False
    return identity(int(pid)) is None or (pid != writer != writer_of(int(pid)))


def _reason(error: Exception) -> str:
    return (error.strerror or "the disk refused") if isinstance(error, OSError) else str(error)
