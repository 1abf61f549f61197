"""The trials of MINiT and STS run from end to end, and record what their tables read."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from benchmarks.experiments import minit, sts
from benchmarks.experiments.steps import Steps, train

from fedward_models.method import Method

RunTrial = Callable[..., list[dict[str, Any]]]


def test_a_trial_of_volumes_tells_accuracy_and_where_maps_point(
    run_trial: RunTrial, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {"TRAIN": 24, "TEST": 8, "MAPPED": 4}.items():
        monkeypatch.setattr(minit, name, value)
    ours, theirs, plain = run_trial(minit, "--steps", "1", "--arms", "minit", "nit", "cnn")
    assert (ours["parameters"], theirs["parameters"], plain["parameters"]) == (108_176, 122_402, 69_906)
    assert 0 <= ours["planted_blocks"] <= 1
    assert theirs["planted_blocks"] is None
    assert plain["lift"].keys() <= {"integrated_gradients", "grad_cam"}
    assert "| minit over nit | 1 |" in capsys.readouterr().out


def test_every_second_subject_is_of_the_other_class_and_sites_are_larger_in_one() -> None:
    """Two subjects that differ in their class only: in the sites and nowhere else."""
    template = minit._template()
    small, large = (minit._subject(template, label, 0, torch.Generator().manual_seed(1))[0] for label in (0, 1))
    difference = (small - large).abs()
    assert float(difference[minit._inside()].mean()) > 5 * float(difference[~minit._inside()].mean())
    assert minit.subjects(4, shift=0, seed=0).labels.tolist() == [0, 1, 0, 1]


def test_a_trial_of_clips_gives_scratch_as_many_steps_in_all_and_asks_of_shuffled_frames(
    run_trial: RunTrial, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    taken: list[int] = []

    def noted(method: Method, steps: Steps, **settings: Any) -> dict[str, float]:
        taken.append(steps.num_steps)
        return train(method, steps, **settings)

    monkeypatch.setattr("benchmarks.experiments.sts.train", noted)
    found = run_trial(sts, "--steps", "2", "--arms", "scratch_plain", "frames_sts")
    assert taken == [3, 1, 2]
    assert all({"joint", "digit", "direction", "direction_shuffled"} <= row.keys() for row in found)
    printed = capsys.readouterr().out
    assert "| frames_sts over scratch_plain | 1 |" in printed
    assert printed.count("| 17,848 |") == 2
