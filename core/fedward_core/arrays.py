"""Named arrays: how weights are held, identified and kept on disk, without torch.

Files are safetensors: no code runs when they are read. numpy has no bfloat16, so it travels as its sixteen bits, and
the filter that made it knows.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from fedward_core.atomic import replacing
from fedward_core.errors import CheckpointError, without_folder

Array: TypeAlias = NDArray[Any]
Arrays: TypeAlias = Mapping[str, Array]


def digest(arrays: Arrays) -> str:
    """The SHA-256 of names, types, shapes and values, whatever the order of the names; 64 hexadecimal digits."""
    hasher = hashlib.sha256()
    for name in sorted(arrays):
        array = np.asarray(arrays[name], order="C")
        hasher.update(f"{name}\x1f{array.dtype.str}\x1f{array.shape}\x1f".encode())
        hasher.update(array.data if array.size else b"")
    return hasher.hexdigest()


def num_bytes(arrays: Arrays) -> int:
    """The bytes of all values."""
    return sum(array.nbytes for array in arrays.values())


def under(prefix: str, arrays: Arrays) -> dict[str, Array]:
    """The arrays whose names begin with a prefix, by the rest of their names."""
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def write_arrays(path: Path, arrays: Arrays, facts: Mapping[str, Any] | None = None, *, durable: bool = True) -> None:
    """Write arrays and a table of facts as one file, so that a reader sees the old file or the new one, never a part.

    Args:
        path: The file; its folder is made.
        arrays: What is written; a digest of all that is written is stored beside it.
        facts: JSON values that :func:`read_arrays` gives back.
        durable: Flush to disk before the file takes its place: needed where it must survive a loss of power.

    Raises:
        CheckpointError: The disk is full or not writable; what stood at ``path`` is as it was.
    """
    text = json.dumps(facts or {}, sort_keys=True)
    with replacing(path, durable=durable) as temporary:
        save_file(
            {name: np.asarray(array, order="C") for name, array in arrays.items()},
            temporary,
            metadata={"facts": text, "digest": _seal(arrays, text)},
        )


def read_arrays(path: Path) -> tuple[dict[str, Array], dict[str, Any]]:
    """Read what :func:`write_arrays` wrote: arrays and facts.

    Raises:
        CheckpointError: The file is missing, is not such a file, or its digest does not fit its content.
    """
    try:
        with safe_open(path, framework="np") as file:
            header = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except (OSError, SafetensorError) as error:
        reason = without_folder(error, path)
        raise CheckpointError(
            f"cannot read '{path.name}': expected a safetensors file of Fedward ({reason})"
        ) from error
    facts = header.get("facts", "")
    if header.get("digest") != _seal(arrays, facts):
        raise CheckpointError(f"'{path.name}' does not fit its own digest: the file is damaged, or was changed by hand")
    return arrays, json.loads(facts)


def _seal(arrays: Arrays, facts: str) -> str:
    return hashlib.sha256(f"{digest(arrays)}\x1f{facts}".encode()).hexdigest()
