"""Frozen weights: found by name, accepted by digest, never opened as a pickle, and never part of a state."""

import io
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from torch import nn

from fedward_core.errors import CheckpointError
from fedward_models.frozen import FrozenWeights, file_digest, is_here, noted_beside, read_frozen
from fedward_models.layers.frozen_module import FrozenModule

SOME_DIGEST = "0" * 64


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FEDWARD_WEIGHTS", str(tmp_path))
    return tmp_path


def written(folder: Path, name: str = "teacher") -> FrozenWeights:
    path = folder / f"{name}.safetensors"
    save_file({"weight": np.arange(6, dtype=np.float32).reshape(2, 3)}, path)
    return FrozenWeights(name=name, sha256=file_digest(path))


def test_what_was_written_is_read(folder: Path) -> None:
    arrays = read_frozen(written(folder))
    assert arrays["weight"].tolist() == [[0, 1, 2], [3, 4, 5]]


def test_every_folder_of_the_environment_is_searched(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (second := folder / "second").mkdir()
    monkeypatch.setenv("FEDWARD_WEIGHTS", f"{folder / 'absent'}:{second}")
    assert "weight" in read_frozen(written(second))


def test_without_the_environment_the_folder_weights_is_searched(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FEDWARD_WEIGHTS")
    monkeypatch.chdir(folder)
    (folder / "weights").mkdir()
    assert "weight" in read_frozen(written(folder / "weights"))


def test_a_file_that_has_its_digest_for_a_name_is_found_before_another_of_the_name(folder: Path) -> None:
    right = written(folder)
    (folder / "teacher.safetensors").rename(folder / f"{right.sha256}.safetensors")
    assert "weight" in read_frozen(right)
    (folder / "teacher.safetensors").write_bytes(b"another")
    assert "weight" in read_frozen(right)


def test_a_file_is_here_if_it_would_be_found_and_its_bytes_are_right(folder: Path) -> None:
    (also := folder / "also").mkdir()
    right = written(also)
    other = FrozenWeights(name=right.name, sha256=SOME_DIGEST)
    assert (is_here(right, also), is_here(right, folder), is_here(other, also)) == (True, False, False)
    (folder / "teacher.pth").write_bytes(b"PK\x03\x04")
    assert not is_here(right, folder)


def test_a_missing_file_is_asked_for_by_name_and_digest_without_a_path(folder: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no frozen weights 'teacher.safetensors'.*0{64}") as raised:
        read_frozen(FrozenWeights(name="teacher", sha256=SOME_DIGEST))
    assert str(folder) not in str(raised.value)


def test_another_digest_is_refused_and_both_are_told(folder: Path) -> None:
    right = written(folder)
    with pytest.raises(CheckpointError, match=rf"expected sha256 {SOME_DIGEST}, found {right.sha256}"):
        read_frozen(FrozenWeights(name="teacher", sha256=SOME_DIGEST))


class Trap:
    """What a pickled file may do when it is opened."""

    opened = False

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return setattr, (Trap, "opened", True)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("archive", [True, False])
def test_a_pickle_is_refused_under_any_name_and_never_opened(folder: Path, suffix: str, archive: bool) -> None:
    path = folder / f"teacher{suffix}"
    if archive:
        buffer = io.BytesIO()
        torch.save({"model": Trap()}, buffer)
        path.write_bytes(buffer.getvalue())
    else:
        path.write_bytes(pickle.dumps(Trap()))
    with pytest.raises(CheckpointError, match="convert it offline"):
        read_frozen(FrozenWeights(name="teacher", sha256=file_digest(path)))
    assert not Trap.opened


@pytest.mark.parametrize(("number", "width"), [(np.nan, np.float32), (np.inf, np.float16), (-np.inf, np.float64)])
def test_numbers_that_are_not_finite_are_refused_by_their_entry(folder: Path, number: float, width: type) -> None:
    path = folder / "teacher.safetensors"
    save_file({"good": np.arange(3), "bad.bias": np.array([0, number], dtype=width)}, path)
    with pytest.raises(CheckpointError, match=r"'teacher.safetensors' hold numbers in 'bad.bias' .* not fin") as raised:
        read_frozen(FrozenWeights(name="teacher", sha256=file_digest(path)))
    assert str(folder) not in str(raised.value)


def test_a_damaged_file_is_refused(folder: Path) -> None:
    path = folder / "teacher.safetensors"
    path.write_bytes(b"\x10\x00\x00\x00\x00\x00\x00\x00nonsense")
    with pytest.raises(CheckpointError, match=r"cannot read the frozen weights 'teacher.safetensors'"):
        read_frozen(FrozenWeights(name="teacher", sha256=file_digest(path)))


@pytest.mark.parametrize("read", [read_frozen, noted_beside])
def test_a_file_that_nobody_may_open_is_told_without_its_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch, read: Callable[[FrozenWeights], object]
) -> None:
    def locked(path: Path, *_: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    weights = written(folder)
    monkeypatch.setattr(Path, "open", locked)
    with pytest.raises(CheckpointError, match=r"'teacher.safetensors'.*Permission denied") as raised:
        read(weights)
    assert str(folder) not in str(raised.value)


@pytest.mark.parametrize("name", ["../teacher", "a/b", ""])
def test_a_name_leads_to_no_other_folder(name: str) -> None:
    with pytest.raises(ValueError, match="name"):
        FrozenWeights(name=name, sha256=SOME_DIGEST)


def test_a_plan_can_name_them(folder: Path) -> None:
    weights = written(folder)
    assert weights.note("teacher") == f"teacher: frozen weights 'teacher', sha256 {weights.sha256}"


def test_a_frozen_module_has_no_state_no_parameters_and_no_training_mode() -> None:
    owner = nn.Module()
    owner.held = FrozenModule(nn.Linear(2, 2))
    owner.train()
    network = owner.held.network
    assert not owner.state_dict()
    assert not list(owner.parameters())
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_a_frozen_module_moves_with_its_owner() -> None:
    owner = nn.Sequential(FrozenModule(nn.Linear(2, 2)))
    owner.double()
    (held,) = owner
    assert isinstance(held, FrozenModule)
    assert held.network.weight.dtype is torch.float64
