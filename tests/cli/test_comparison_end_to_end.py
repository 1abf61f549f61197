"""Comparisons that really train: intervals over patients, arms alone and pooled, and runs side by side."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from fedward_cli.comparison.comparison import Comparison
from fedward_cli.main import app
from fedward_cli.simulation.results import read_results
from fedward_core.arrays import digest, read_arrays

pytestmark = pytest.mark.usefixtures("without_curves")

ARMS = sorted((Path(__file__).parents[2] / "examples" / "cxr").glob("*.yaml"))
TINY = """
name: {name}
dataset: {{name: simulated, image_px: 16, label_fraction: 0.5}}
evaluate: {{every: 2, bootstrap: 0}}
stages:
  - name: pretrain
    method: {{name: mae, decoder_width: 8, decoder_depth: 1, decoder_heads: 2}}
    backbone: {{name: vit, width: 16, depth: 1, heads: 2, patch_px: 8}}
    rounds: 1
  - name: finetune
    method: supervised
    start_from: previous
    rounds: 2
    local: {{batch_size: 4, optimizer: {{name: adamw, lr: {lr}}}}}
"""


def write_arms(folder: Path) -> list[Path]:
    """Three arms that begin alike."""
    paths = [folder / f"{name}.yaml" for name in ("shared", "alone", "pooled")]
    for path, rate in zip(paths, (0.001, 0.001, 0.003), strict=True):
        path.write_text(TINY.format(name=path.stem, lr=rate))
    return paths


def compare(arms: list[Path], data: Path, out: Path, *options: object) -> Comparison:
    """Compare through the command line."""
    arguments = ["compare", *arms, "--data", data, "--out", out, *options]
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return Comparison.model_validate_json((out / "comparison.json").read_text())


def test_a_comparison_of_shared_alone_and_pooled_training_pairs_patients(hospitals: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    options = ("--seeds", 1, "--metric", "accuracy", "--alone", "alone", "--pooled", "pooled")
    comparison = compare(write_arms(tmp_path), hospitals, out, *options)
    shared, alone, pooled, _ = comparison.rows
    assert comparison.resampled == "patients within seeds"
    assert shared.sites.keys() == alone.sites.keys() == pooled.sites.keys() == {"hill", "north", "river"}
    assert {site: figure.n for site, figure in pooled.sites.items()} == {s: f.n for s, f in shared.sites.items()}
    assert shared.mean.low is not None
    assert alone.difference is not None
    assert alone.difference.low is not None
    assert shared.bytes_sent > 0
    assert alone.bytes_sent == pooled.bytes_sent == 0
    assert alone.effort is not None
    assert pooled.effort is not None
    assert alone.effort.rounds == pooled.effort.rounds == 3
    assert pooled.effort.least_steps > alone.effort.most_steps
    assert not (out / "shared" / "seed-0" / "sites" / "north" / "finetune" / "predictions.npz").exists()
    assert "probabilities" not in (out / "shared" / "seed-0" / "events.jsonl").read_text()


def test_names_of_no_arm_are_refused(hospitals: Path, tmp_path: Path) -> None:
    arguments = ["compare", *write_arms(tmp_path), "--data", hospitals, "--out", tmp_path / "out", "--alone", "other"]
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 1
    assert "other" in result.stderr


@pytest.mark.slow
def test_two_runs_at_a_time_give_the_bits_of_one_at_a_time(hospitals: Path, tmp_path: Path) -> None:
    arms = write_arms(tmp_path)[:2]
    one = compare(arms, hospitals, tmp_path / "one", "--seeds", 2)
    two = compare(arms, hospitals, tmp_path / "two", "--seeds", 2, "--jobs", 2)
    assert one == two
    for weights in (tmp_path / "one").rglob("final.safetensors"):
        others = tmp_path / "two" / weights.relative_to(tmp_path / "one")
        assert digest(read_arrays(weights)[0]) == digest(read_arrays(others)[0])


@pytest.mark.slow
def test_runs_that_fail_in_their_processes_are_named_with_their_reasons(hospitals: Path, tmp_path: Path) -> None:
    options = ("--data", hospitals, "--out", tmp_path / "out", "--seeds", 1, "--jobs", 2, "--engine", "perpetual")
    arguments = ["compare", *write_arms(tmp_path)[:2], *options]
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 1
    assert "2 of 2 runs failed" in result.stderr
    assert "alone, seed 0: " in result.stderr
    assert "perpetual" in result.stderr


@pytest.mark.slow
def test_a_held_out_site_is_no_part_of_what_is_pooled_and_never_trains(hospitals: Path, tmp_path: Path) -> None:
    shared, _, pooled = write_arms(tmp_path)
    options = ("--seeds", 1, "--pooled", "pooled", "--hold-out", "each")
    comparison = compare([shared, pooled], hospitals, tmp_path / "out", *options)
    assert comparison.resampled == "patients within seeds"
    assert comparison.sites == ("hill", "north", "river")
    for site in comparison.sites:
        results = read_results(tmp_path / "out" / "shared" / "seed-0" / f"without-{site}")
        assert results.steps_made.keys() == set(comparison.sites) - {site}
        with np.load(tmp_path / "out" / "pooled" / f"without-{site}" / "pooled.npz") as arrays:
            assert {patient.split("/")[0] for patient in arrays["patient"]} == set(comparison.sites) - {site}


@pytest.mark.slow
def test_every_arm_on_chest_xrays_runs_two_rounds(hospitals: Path, tmp_path: Path) -> None:
    arms = [shortened(path, tmp_path) for path in ARMS]
    options = ("--seeds", 1, "--alone", "local_mae", "--pooled", "pooled_mae", "--metric", "auroc")
    comparison = compare(arms, hospitals, tmp_path / "out", *options)
    assert [row.arm for row in comparison.rows[:-1]] == [path.stem for path in ARMS]
    assert all(row.mean.value is not None for row in comparison.rows)


def shortened(path: Path, folder: Path) -> Path:
    """An arm with two rounds a stage, at the simulated hospitals."""
    spec: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    spec["cohort"]["min_sites"] = 3
    spec["dataset"] = {"name": "simulated", "image_px": 16, "label_fraction": 0.5}
    for stage in spec["stages"]:
        stage["rounds"] = 2
        stage["backbone"] = {**stage["backbone"], "width": 16, "heads": 2} if "backbone" in stage else None
        stage["local"].pop("schedule", None)
    short = folder / path.name
    short.write_text(yaml.safe_dump(spec))
    return short
