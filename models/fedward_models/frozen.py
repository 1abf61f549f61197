"""Frozen weights: files that every site holds itself, known by their digest; read, and never trained or sent.

    teacher: {weights: {name: mae-vit-large, sha256: 3f2a...}}        in a spec
                               |
    $FEDWARD_WEIGHTS/mae-vit-large.safetensors                        at each site and where a run is planned

A file is looked up in the folders of the environment variable ``FEDWARD_WEIGHTS``, separated as in ``PATH``; where it
is not set, in ``weights/`` beneath the working folder. It lies there as ``<sha256>.safetensors``, as an agent keeps
what it has fetched, or as ``<name>.safetensors``. The digest is that of the whole file, as ``sha256sum`` prints it, so
where a file was found changes no result.

Only safetensors are read. A checkpoint that Python pickled can run code of its author when it is opened; convert it
once, away from patients' data:

    state = torch.load("checkpoint.pth", map_location="cpu", weights_only=True)
    safetensors.torch.save_file({n: t.contiguous() for n, t in state["model"].items()}, "mae-vit-large.safetensors")

There is no torch here, so that a spec which names weights is checked without it. ``layers.frozen_module`` holds what is
built from them.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, Field
from safetensors import SafetensorError, safe_open

from fedward_core.config import SHA256, Frozen
from fedward_core.errors import CheckpointError, without_folder
from fedward_core.frozen_weights import SUFFIX

if TYPE_CHECKING:
    from fedward_core.arrays import Array  # numpy is slow to import, and settings that name weights need none

FOLDERS = "FEDWARD_WEIGHTS"
_BENEATH = "weights"  # the working folder
# A zip archive, as torch writes it, or a bare pickle of protocol 2 to 5.
_PICKLES = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
_PICKLE_SUFFIXES = (".pt", ".pth", ".bin", ".ckpt", ".pkl")


class FrozenWeights(Frozen):
    """Which weights.

    Attributes:
        name: The file's name, without folder and without ``.safetensors``.
        sha256: The digest of the whole file, 64 hexadecimal digits.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    sha256: str = Field(pattern=SHA256)

    def note(self, what: str) -> str:
        """The sentence by which a plan identifies them, e.g. of a teacher."""
        return f"{what}: frozen weights '{self.name}', sha256 {self.sha256}"


def read_frozen(weights: FrozenWeights) -> dict[str, "Array"]:
    """Find a file, check its digest, and read it.

    Raises:
        CheckpointError: There is no such file, its digest is another, it is no safetensors file, or holds numbers that
            are not finite; messages name the file without its folder.
    """
    path = _find(weights)
    try:
        _refuse_pickle(path)
        found = file_digest(path)
    except OSError as error:
        raise _unreadable(path, error) from error
    if found != weights.sha256:
        raise CheckpointError(
            f"the frozen weights '{path.name}' are not those that the spec names: expected sha256 {weights.sha256}, "
            f"found {found}. Fetch the right file, or correct the digest in the spec"
        )
    arrays = _read(path)
    _refuse_infinite(arrays, path)
    return arrays


def noted_beside(weights: FrozenWeights) -> dict[str, Any]:
    """What Fedward noted in a file that it wrote: the ``plan`` of the stage, or of an exported ``model`` what it is.

    Of a file that others wrote it is nothing.

    Raises:
        CheckpointError: As of :func:`read_frozen`, but for the digest, which is not looked at.
    """
    path = _find(weights)
    try:
        _refuse_pickle(path)
        with safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
            facts = json.loads(metadata.get("facts", "{}"))
    except (OSError, SafetensorError, ValueError) as error:
        raise _unreadable(path, error) from error
    return (facts if isinstance(facts, dict) else {}) | _described(metadata.get("model", ""))


def noted_classes(weights: FrozenWeights) -> tuple[str, ...]:
    """The classes of the study that Fedward noted in a file that it wrote; none where it noted nothing.

    Raises:
        CheckpointError: As of :func:`noted_beside`.
    """
    noted = noted_beside(weights)
    stage = noted.get("plan") or noted.get("model", {})
    return tuple(stage.get("contract", {}).get("classes", ()))


def file_digest(path: Path) -> str:
    """The SHA-256 of a file's bytes, 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def frozen_in(values: object) -> tuple[FrozenWeights, ...]:
    """Every frozen weights that a configuration names, wherever they stand in it, e.g. in a spec; each once."""
    return tuple(dict.fromkeys(_frozen_in(values)))


def is_here(weights: FrozenWeights, also: Path) -> bool:
    """Whether a file would be found, and is the right one: all of it is read.

    Args:
        weights: Which.
        also: The folder of :func:`folders_with`.
    """
    try:
        return file_digest(_find(weights, also)) == weights.sha256
    except (CheckpointError, OSError):
        return False


def folders_with(folder: Path) -> dict[str, str]:
    """The environment of processes that look files up in a folder too, after those of this process."""
    return {FOLDERS: os.pathsep.join((os.environ.get(FOLDERS, _BENEATH), str(folder)))}


def find_file(name: str, *also: Path) -> Path | None:
    """The file of a name in the first of the folders that has one; None where none has.

    Args:
        name: The file's name.
        also: Folders beside those of the environment, after them.
    """
    known = (Path(folder) for folder in os.environ.get(FOLDERS, _BENEATH).split(os.pathsep) if folder)
    return next((path for folder in (*known, *also) if (path := folder / name).is_file()), None)


def _frozen_in(values: object) -> Iterator[FrozenWeights]:
    if isinstance(values, FrozenWeights):
        yield values
    elif isinstance(values, BaseModel):
        for _, value in values:
            yield from _frozen_in(value)
    elif isinstance(values, Mapping):
        yield from _frozen_in(tuple(values.values()))
    elif isinstance(values, list | tuple):
        for value in values:
            yield from _frozen_in(value)


def _find(weights: FrozenWeights, *also: Path) -> Path:
    for name in (weights.sha256, weights.name):
        if path := find_file(f"{name}{SUFFIX}", *also):
            return path
    for suffix in _PICKLE_SUFFIXES:
        if path := find_file(f"{weights.name}{suffix}"):
            _refuse_pickle(path)
    raise CheckpointError(
        f"no frozen weights '{weights.name}{SUFFIX}' on this machine: put the file with sha256 {weights.sha256} into "
        f"the folder that {FOLDERS} names, or into 'weights' beneath the working folder"
    )


def _described(text: str) -> dict[str, Any]:
    """The description of an exported model; nothing where others have written something else by this name."""
    try:
        model = json.loads(text)
    except ValueError:
        return {}
    return {"model": model} if isinstance(model, dict) else {}


def _refuse_pickle(path: Path) -> None:
    with path.open("rb") as file:
        start = file.read(4)
    if path.suffix in _PICKLE_SUFFIXES or start.startswith(_PICKLES):
        raise CheckpointError(
            f"'{path.name}' is a pickled checkpoint, which can run code when it is opened, and is not read: convert it "
            "offline to safetensors (torch.load with weights_only=True, then safetensors.torch.save_file), and name "
            "the digest of the new file"
        )


def _read(path: Path) -> dict[str, "Array"]:
    try:
        with safe_open(path, framework="np") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except (OSError, SafetensorError, TypeError) as error:  # numpy knows no bfloat16: a TypeError
        raise _unreadable(path, error) from error


def _refuse_infinite(arrays: Mapping[str, "Array"], path: Path) -> None:
    """Training would end as diverged, and its learning rate would be blamed."""
    from numpy import isfinite  # noqa: PLC0415 - slow to import, and settings that name weights need none

    for name, array in arrays.items():
        if not isfinite(array).all():
            raise CheckpointError(
                f"the frozen weights '{path.name}' hold numbers in '{name}' that are not finite: the training that "
                "wrote them diverged, or they left the range of 16 bits. Name another file"
            )


def _unreadable(path: Path, error: Exception) -> CheckpointError:
    return CheckpointError(
        f"cannot read the frozen weights '{path.name}': expected a safetensors file of 16-, 32- or 64-bit floats that "
        f"numpy knows ({without_folder(error, path)})"
    )
