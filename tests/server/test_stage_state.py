"""Checkpoints of a stage: written whole, checked when read."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fedward_core.aggregation.config import FedAdamConfig
from fedward_core.errors import CheckpointError
from fedward_core.manifest import Manifest
from fedward_core.order import Base
from fedward_core.update import SHARED, Update
from fedward_server.rounds.stage_state import StageFolder, StageState

IDENTITY = {"spec": "s", "plan": "p"}
WEIGHTS = {"w": np.arange(4, dtype=np.float32), "n": np.array(3)}


def state(round_: int) -> StageState:
    return StageState(round=round_, weights=dict(WEIGHTS), bases={"a": Base(round=round_ - 1, parent="x")})


def moved_adam() -> object:
    aggregator = FedAdamConfig().build()
    shared = {"w": WEIGHTS["w"] + 1}
    aggregator.begin(Manifest.of(shared))
    aggregator.add(Update(site="a", round=0, parent="", num_examples=1, num_steps=1, groups={SHARED: shared}))
    aggregator.finish({"w": WEIGHTS["w"]})
    return aggregator


def test_a_checkpoint_gives_back_what_was_saved(tmp_path: Path) -> None:
    aggregator, loaded = moved_adam(), FedAdamConfig().build()
    StageFolder(tmp_path, IDENTITY).save(state(7), aggregator)  # type: ignore[arg-type]
    back = StageFolder(tmp_path, IDENTITY).load(loaded)
    assert (back.round, back.bases, back.digest) == (7, state(7).bases, state(7).digest)
    ours, theirs = aggregator.state()[0], loaded.state()[0]  # type: ignore[attr-defined]
    assert ours.keys() == theirs.keys()
    assert all((ours[name] == theirs[name]).all() for name in ours)


def test_a_stage_has_begun_with_its_first_checkpoint(tmp_path: Path) -> None:
    folder = StageFolder(tmp_path, IDENTITY)
    assert not folder.has_begun
    folder.save(state(0), FedAdamConfig().build())
    assert folder.has_begun


def test_the_newest_checkpoint_is_that_of_the_highest_round_however_many_digits_it_has(tmp_path: Path) -> None:
    folder = StageFolder(tmp_path, IDENTITY)
    for round_ in (99_998, 99_999, 100_000):
        folder.save(state(round_), FedAdamConfig().build())
    assert folder.load(FedAdamConfig().build()).round == 100_000


def test_a_checkpoint_of_another_architecture_is_refused(tmp_path: Path) -> None:
    StageFolder(tmp_path, IDENTITY).save(state(1), FedAdamConfig().build())
    with pytest.raises(CheckpointError, match="another spec or architecture"):
        StageFolder(tmp_path, {**IDENTITY, "plan": "other"}).load(FedAdamConfig().build())


def test_a_checkpoint_cut_short_is_told_with_the_way_on(tmp_path: Path) -> None:
    folder = StageFolder(tmp_path, IDENTITY)
    for round_ in (1, 2):
        folder.save(state(round_), FedAdamConfig().build())
    os.truncate(tmp_path / "checkpoint-00002.safetensors", 100)
    with pytest.raises(CheckpointError, match=r"'checkpoint-00002.*: remove it, and .* from 'checkpoint-00001"):
        folder.load(FedAdamConfig().build())
    (tmp_path / "checkpoint-00002.safetensors").unlink()
    assert folder.load(FedAdamConfig().build()).round == 1
    os.truncate(tmp_path / "checkpoint-00001.safetensors", 100)
    with pytest.raises(CheckpointError, match="begin in another folder"):
        folder.load(FedAdamConfig().build())


def test_a_damaged_checkpoint_is_refused(tmp_path: Path) -> None:
    StageFolder(tmp_path, IDENTITY).save(state(1), FedAdamConfig().build())
    path = tmp_path / "checkpoint-00001.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="damaged"):
        StageFolder(tmp_path, IDENTITY).load(FedAdamConfig().build())


def test_a_full_disk_leaves_the_previous_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = StageFolder(tmp_path, IDENTITY)
    folder.save(state(1), FedAdamConfig().build())

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CheckpointError, match="No space left on device"):
        folder.save(state(2), FedAdamConfig().build())
    monkeypatch.undo()
    back = folder.load(FedAdamConfig().build())
    assert back.round == 1
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-00001.safetensors"]


def test_what_a_killed_attempt_had_written_half_goes_when_the_stage_is_taken_up(tmp_path: Path) -> None:
    folder = StageFolder(tmp_path, IDENTITY)
    folder.save(state(1), FedAdamConfig().build())
    (tmp_path / f".checkpoint-00002.safetensors.{2**22 + 1}.part").touch()
    folder.load(FedAdamConfig().build())
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-00001.safetensors"]


def test_what_is_told_of_a_round_lies_in_its_checkpoint(tmp_path: Path) -> None:
    told = replace(state(2), report={"loss": 0.5, "sites": ["a"]})
    StageFolder(tmp_path, IDENTITY).save(told, FedAdamConfig().build())
    assert StageFolder(tmp_path, IDENTITY).load(FedAdamConfig().build()).report == told.report
