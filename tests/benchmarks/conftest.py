"""How tests run a trial of the zoo."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from benchmarks.experiments import cost
from benchmarks.experiments.trial import records

RunTrial = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def run_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunTrial:
    """What a trial records with one seed; nothing is timed more than once."""

    def run(trial: ModuleType, *words: str) -> list[dict[str, Any]]:
        monkeypatch.setattr(cost, "REPEATS", 1)
        monkeypatch.setattr(sys, "argv", ["trial", "--out", str(tmp_path), "--seeds", "0", *words])
        trial.main()
        (path,) = tmp_path.glob("*.jsonl")
        return records(path)

    return run
