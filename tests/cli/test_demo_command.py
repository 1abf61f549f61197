"""``fedward demo``, over an engine that only tells, and the pictures that it draws, over a real one."""

from pathlib import Path
from typing import Any

import pytest

from fedward_cli.commands import demo as demo_command
from fedward_cli.commands.demo import ARMS, DATASET_OF_OWN
from fedward_cli.display import reconstructions
from fedward_cli.display.reconstructions import draw_reconstructions
from fedward_core.engine import Job
from fedward_core.spec import Spec
from fedward_server.engines.inline import InlineEngine

pytestmark = pytest.mark.usefixtures("without_curves")


@pytest.fixture
def demo(bench: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Calls the demo; no weights are there, so no reconstructions are drawn, and no digests are computed."""
    drawn: list[Path] = []
    monkeypatch.setattr(demo_command, "final_digest", lambda stage: f"digest of {stage.name}")
    monkeypatch.setattr(reconstructions, "draw_reconstructions", lambda job, stage, path: drawn.append(path))

    def call() -> Any:
        result = bench.call("demo", "--simulated", "--out", bench.out)
        return result, drawn

    return call


def test_the_demo_runs_four_arms_over_three_hospitals_and_says_where_things_lie(bench: Any, demo: Any) -> None:
    result, drawn = demo()
    assert result.exit_code == 0, result.output
    assert [job.spec.name for job in bench.engine.jobs] == list(ARMS)
    assert all(len(job.sites) == 3 for job in bench.engine.jobs)
    for arm in ARMS:
        assert arm in result.stdout
    assert "digest of personalise" in result.stdout
    assert "nothing here proves that any arm is better" in " ".join(result.stdout.split())
    assert drawn == [bench.out / "reconstructions.png"]
    assert (bench.out / "comparison.md").exists()
    assert "reconstructions.png" in result.stderr


def test_the_demo_goes_on_after_ctrl_c(bench: Any, demo: Any) -> None:
    bench.engine.stop_after = 1
    assert demo()[0].exit_code == 130
    bench.engine.stop_after = None
    assert demo()[0].exit_code == 0
    assert [job.spec.name for job in bench.engine.jobs] == ["local", *ARMS]


def test_workers_are_of_a_simulation_only(bench: Any) -> None:
    result = bench.call("demo", "--out", bench.out, "--workers", 2)
    assert result.exit_code == 2
    assert "--simulated" in result.stderr
    assert bench.engine.jobs == []


def test_the_demo_over_data_of_ones_own_names_it_so(bench: Any, demo: Any) -> None:
    result = bench.call("demo", "--simulated", "--data", bench.data, "--out", bench.out)
    assert result.exit_code == 0, result.output
    assert {job.spec.dataset.name for job in bench.engine.jobs} == {DATASET_OF_OWN}
    assert {job.data for job in bench.engine.jobs} == {bench.data}


def test_reconstructions_are_drawn_from_a_finished_stage(hospitals: Path, tmp_path: Path) -> None:
    backbone = {"name": "vit", "width": 16, "depth": 1, "heads": 2, "patch_px": 4}
    method = {"name": "mae", "decoder_width": 16, "decoder_depth": 1}
    stage = {"name": "pretrain", "method": method, "backbone": backbone, "rounds": 1}
    spec = Spec.parse({"name": "paint", "dataset": {"name": "x", "image_px": 16}, "stages": [stage]})
    job = Job(spec=spec, run="paint", sites=("hill", "north", "river"), data=hospitals, out=tmp_path / "run")
    InlineEngine().run(job, lambda event: None)
    draw_reconstructions(job, 0, tmp_path / "painted.png")
    assert (tmp_path / "painted.png").read_bytes().startswith(b"\x89PNG")
