"""The example of a method in a package of its own is found by its name, trains, and is known by its code."""

import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from fedward_core import registry
from fedward_core.cards import Contract
from fedward_core.packages import packages_named
from fedward_core.spec import Spec
from fedward_models.batch import Batch
from fedward_models.building import build_method
from fedward_models.step import Clock

EXAMPLE = Path(__file__).parents[3] / "examples" / "own_method"
SPEC = {
    "name": "own",
    "dataset": {"name": "simulated", "image_px": 16},
    "stages": [{"name": "train", "method": "focal", "backbone": {"name": "small_cnn", "widths": [4]}, "rounds": 2}],
}


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """What an installer writes beside the code: its metadata. The folder with it."""
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
    info = tmp_path / "own_method-1.0.dist-info"
    info.mkdir()
    name, version = project["name"], project["version"]
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    groups = [
        f"[{group}]\n" + "".join(f"{key} = {value}\n" for key, value in entries.items())
        for group, entries in project["entry-points"].items()
    ]
    (info / "entry_points.txt").write_text("".join(groups))
    for folder in (tmp_path, EXAMPLE):
        monkeypatch.syspath_prepend(str(folder))
    registry._entries.cache_clear()
    yield tmp_path
    registry._entries.cache_clear()


def test_it_is_found_by_its_name_and_trains(installed: Path) -> None:
    method = build_method(Spec.parse(SPEC), 0, Contract(classes=("normal", "ill")))
    batch = Batch(images=torch.randn(4, 1, 16, 16), labels=torch.tensor([0, 1, 0, 1]))
    output = method.training_step(batch, Clock())
    output.loss.backward()  # type: ignore[no-untyped-call]
    assert all(parameter.grad is not None for parameter in method.parameters())


def test_a_site_knows_it_by_its_code(installed: Path) -> None:
    (package,) = packages_named(SPEC)
    assert (package.name, package.version) == ("own-method", "1.0")


@pytest.mark.slow
def test_its_own_tests_pass(installed: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(installed), str(EXAMPLE)))}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(EXAMPLE / "tests")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=EXAMPLE)
    assert done.returncode == 0, done.stdout
