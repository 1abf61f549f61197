"""Two workers of Ray Train give the curve of one process, and go on after a kill."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from torch import distributed, multiprocessing

from fedward_core.arrays import Arrays, read_arrays
from fedward_core.engine import Job
from fedward_core.errors import SpecError
from fedward_core.events import Event, EventKind
from fedward_core.spec import Spec
from fedward_models.data import generate
from fedward_server.engines.inline import InlineEngine
from fedward_server.engines.ray_train import RayTrainEngine

ROUNDS, PATIENCE_S = 4, 400.0


def spec_of(**local: object) -> Spec:
    stage = {
        "name": "only",
        "method": "supervised",
        "backbone": {"name": "small_cnn", "widths": [4], "hidden": [8], "norm": "none"},
        "rounds": ROUNDS,
        "local": {"batch_size": 8, "optimizer": {"name": "sgd", "lr": 0.1}, **local},
    }
    cohort, dataset = {"sites": ["north"], "min_sites": 1}, {"name": "simulated", "image_px": 16}
    values = {"name": "shared", "dataset": dataset, "cohort": cohort, "evaluate": {"bootstrap": 0}, "stages": [stage]}
    return Spec.parse(values)


def losses(out: Path) -> dict[int, float]:
    """The loss of each round, the newest where one was repeated."""
    lines = (out / "events.jsonl").read_text(encoding="utf-8").splitlines()
    told = [Event.model_validate_json(line) for line in lines]
    found = [event for event in told if event.kind is EventKind.SITE_TRAINED]
    return {event.round: event.facts["loss"] for event in found if event.round is not None}


@pytest.mark.slow
def test_two_workers_give_the_curve_of_one_process_also_after_a_kill(tmp_path: Path) -> None:
    generate(tmp_path / "data", sites=3, images_per_site=60, image_px=16, seed=1)
    (tmp_path / "spec.yaml").write_text(json.dumps(spec_of().model_dump(mode="json")), encoding="utf-8")
    command = [sys.executable, "-m", "fedward_cli", "train", str(tmp_path / "spec.yaml"), "--site", "north"]
    command += ["--data", str(tmp_path / "data"), "--out", str(tmp_path / "ray"), "--ray-workers", "2"]
    first = subprocess.Popen(command, start_new_session=True)
    wait_for_a_round(tmp_path / "ray" / "events.jsonl", first)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stderr[-3000:]
    assert f"round {ROUNDS} of {ROUNDS}" in done.stderr
    InlineEngine().run(job_in(tmp_path, "inline"), lambda event: None)
    assert losses(tmp_path / "ray") == pytest.approx(losses(tmp_path / "inline"), rel=1e-4)
    for name, array in final(tmp_path / "inline").items():
        np.testing.assert_allclose(final(tmp_path / "ray")[name], array, atol=1e-4, err_msg=name)
    assert not (tmp_path / "ray" / "ray").exists()


@pytest.mark.parametrize("rounds_before", [0, 2])
def test_processes_that_share_batches_carry_a_run_out_in_step(rounds_before: int, tmp_path: Path) -> None:
    """What the workers do once Ray Train has joined them, also where the run goes on with more of them than before."""
    generate(tmp_path / "data", sites=3, images_per_site=60, image_px=16, seed=1)
    interrupted = run_until(tmp_path, rounds_before)
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_share, args=(index, tmp_path, interrupted)) for index in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(PATIENCE_S)
        assert worker.exitcode == 0
    InlineEngine().run(job_in(tmp_path, "alone"), lambda event: None)
    assert losses(tmp_path / "0") == losses(tmp_path / "1")
    assert losses(tmp_path / "0") == pytest.approx(losses(tmp_path / "alone"), rel=1e-4)
    ours, same, theirs = (final(tmp_path / name) for name in ("0", "1", "alone"))
    for name, array in theirs.items():
        assert np.array_equal(ours[name], same[name])
        np.testing.assert_allclose(ours[name], array, atol=1e-4, err_msg=name)


def _share(index: int, folder: Path, interrupted: Path) -> None:
    distributed.init_process_group("gloo", init_method=f"file://{folder / 'meeting'}", rank=index, world_size=2)
    if interrupted.exists():
        shutil.copytree(interrupted, folder / str(index))
    InlineEngine().run(job_in(folder, str(index)), lambda event: None)
    distributed.destroy_process_group()


def run_until(folder: Path, rounds: int) -> Path:
    """What one process has left behind that was stopped after some rounds."""

    def stop(event: Event) -> None:
        if event.kind is EventKind.ROUND_FINISHED and event.round == rounds - 1:
            raise KeyboardInterrupt

    if rounds:
        with pytest.raises(KeyboardInterrupt):
            InlineEngine().run(job_in(folder, "interrupted"), stop)
    return folder / "interrupted"


def job_in(folder: Path, out: str) -> Job:
    return Job(spec=spec_of(), run="run", sites=("north",), data=folder / "data", out=folder / out)


def final(run: Path) -> Arrays:
    return read_arrays(run / "stages" / "only" / "final.safetensors")[0]


def wait_for_a_round(events: Path, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not (events.exists() and "round_finished" in events.read_text(encoding="utf-8")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_batches_that_do_not_divide_are_refused_before_ray_starts(tmp_path: Path) -> None:
    spec = spec_of(batch_size=9)
    job = Job(spec=spec, run="run", sites=("north",), data=tmp_path, out=tmp_path / "out", workers=2)
    with pytest.raises(SpecError, match="cannot be divided among 2 workers"):
        RayTrainEngine().run(job, lambda event: None)
