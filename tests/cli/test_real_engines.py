"""The command line over the real inline engine, with a method that needs no torch."""

import json
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from fedward_cli.main import app
from fedward_cli.simulation.results import read_results

SPEC = """
name: drill
dataset: {name: simulated, image_px: 16}
evaluate: {every: 2}
stages: [{name: move, method: rehearsal, rounds: 5}]
"""


REFUSED = """
name: drill
dataset: {name: simulated, image_px: 16}
stages:
  - name: train
    method: supervised
    backbone: {name: small_cnn, widths: [4]}
    personalise: {name: lg_fedavg, private_layers: 9}
    rounds: 1
"""


def simulate(hospitals: Path, folder: Path, name: str, *arguments: object, text: str = SPEC) -> Any:
    spec = folder / "drill.yaml"
    spec.write_text(text)
    command = ("simulate", spec, "--data", hospitals, "--out", folder / name, *arguments)
    return CliRunner().invoke(app, [str(argument) for argument in command])


def test_a_real_run_is_shown_stored_and_read_again(hospitals: Path, tmp_path: Path) -> None:
    first = simulate(hospitals, tmp_path, "run")
    assert first.exit_code == 0, first.output
    assert "move: round 5 of 5" in first.stderr
    again = simulate(hospitals, tmp_path, "run")
    assert again.stdout == first.stdout
    for name in ("spec.yaml", "metrics.csv", "curves.png", "stages/move/final.safetensors"):
        assert (tmp_path / "run" / name).exists()


def test_results_do_not_depend_on_the_number_of_workers(hospitals: Path, tmp_path: Path) -> None:
    simulate(hospitals, tmp_path, "one")
    simulate(hospitals, tmp_path, "two", "--workers", 2)
    one, two = read_results(tmp_path / "one"), read_results(tmp_path / "two")
    assert one.final == two.final
    assert one.sent == two.sent


def test_a_run_that_fails_ends_with_a_panel_and_goes_on_once_the_cause_is_gone(hospitals: Path, tmp_path: Path) -> None:
    simulate(hospitals, tmp_path, "run")
    (tmp_path / "run" / "stages" / "move" / "final.safetensors").write_bytes(b"damaged")
    (tmp_path / "run" / "run.json").write_text(
        (tmp_path / "run" / "run.json").read_text().replace('"completed"', '"interrupted"')
    )
    failed = simulate(hospitals, tmp_path, "run")
    assert failed.exit_code == 1
    assert "This did not work" in failed.stderr
    (tmp_path / "run" / "stages" / "move" / "final.safetensors").unlink()
    assert simulate(hospitals, tmp_path, "run").exit_code == 0


def test_a_refused_run_says_why_once_keeps_the_reason_and_gives_way_to_a_mended_spec(
    hospitals: Path, tmp_path: Path
) -> None:
    refused = simulate(hospitals, tmp_path, "run", text=REFUSED)
    assert refused.exit_code == 1
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["state"] == "failed"
    assert refused.stderr.count(record["reason"][:60]) == 1
    (stages := tmp_path / "run" / "stages").mkdir()
    assert simulate(hospitals, tmp_path, "run").exit_code == 1
    stages.rmdir()
    assert simulate(hospitals, tmp_path, "run").exit_code == 0
