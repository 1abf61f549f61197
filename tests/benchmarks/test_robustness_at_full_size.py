"""The trial of FGSM training at full size trains what its recipes say, keeps it, and asks AutoAttack too."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from benchmarks.experiments import fgsm_at_full
from torch import Tensor

from fedward_core.spec import Spec
from fedward_models.recipes import read_recipe

RunTrial = Callable[..., list[dict[str, Any]]]


class AutoAttack:
    """A stand-in for the package, which is no dependency of the tests: black images."""

    def __init__(self, *_: object, **__: object) -> None:
        self.apgd, self.apgd_targeted, self.fab = SimpleNamespace(), SimpleNamespace(), SimpleNamespace()

    def run_standard_evaluation(self, images: Tensor, classes: Tensor, *, batch_size: int) -> tuple[Tensor, Tensor]:
        assert batch_size == len(images)
        return torch.zeros_like(images), classes


def small(spec: Spec) -> Spec:
    (stage,) = spec.stages
    method = stage.method.model_copy(update={"evaluation_steps": 1, "evaluation_restarts": 1})
    assert stage.backbone is not None
    backbone = stage.backbone.model_copy(update={"width": 2})
    stage = stage.model_copy(update={"rounds": 2, "method": method, "backbone": backbone})
    return spec.model_copy(update={"stages": (stage,)})


def test_recipes_are_trained_once_and_attacked(
    run_trial: RunTrial, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    package = ModuleType("pyautoattack")
    monkeypatch.setattr(package, "AutoAttack", AutoAttack, raising=False)
    monkeypatch.setitem(sys.modules, "pyautoattack", package)
    monkeypatch.setattr(fgsm_at_full, "TRAINED", 260)
    monkeypatch.setattr(fgsm_at_full, "ASKED", 10)
    rng = torch.Generator().manual_seed(0)

    def pixels(_: Path, count: int) -> tuple[Tensor, Tensor]:
        return torch.randint(256, (count, 3, 32, 32), generator=rng, dtype=torch.uint8), torch.arange(count) % 10

    monkeypatch.setattr(fgsm_at_full, "read_pixels", pixels)
    recipes: list[str] = []

    def shortened(name: str) -> Spec:
        recipes.append(name)
        return small(read_recipe(name))

    monkeypatch.setattr(fgsm_at_full, "read_recipe", shortened)
    found = run_trial(fgsm_at_full, "--data", "x", "--arms", "all", "plain")
    assert recipes == ["fgsm_at_tricks/all", "fgsm_at_tricks/plain"]
    assert [row["arm"] for row in found] == ["all", "plain"]
    for row in found:
        assert row["n"] == 10
        assert row["pgd"] <= row["clean"]
        assert row["auto_attack"] == 0.1  # a black image is of one class, whichever it is named
    printed = capsys.readouterr().out
    assert "fgsm-at-tricks-all, seed 0: 2 of 2" in printed
    assert "PGD 0.498, AutoAttack 0.464" in printed

    (tmp_path / "fgsm_at_full.jsonl").unlink()
    again = run_trial(fgsm_at_full, "--data", "x", "--arms", "all")
    assert "2 of 2" not in capsys.readouterr().out  # weights were kept, and only the attacks are run again
    assert again[0]["network"] == found[0]["network"]
