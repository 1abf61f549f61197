"""A run that is killed, or stopped by hand, is taken up and ends with the weights of an undisturbed one."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from waiting import wait_until

from fedward_core.arrays import digest, read_arrays
from fedward_models.data import generate

SPEC = {
    "name": "toy",
    "seed": 7,
    "dataset": {"name": "simulated", "image_px": 16},
    "cohort": {"min_sites": 1},
    "evaluate": {"every": 4, "bootstrap": 0},
    "stages": [
        {
            "name": "train",
            "method": "supervised",
            "backbone": {"name": "small_cnn", "widths": [4, 8], "hidden": [16]},
            "rounds": 10,
            "local": {"batch_size": 8, "optimizer": {"name": "adamw", "lr": 0.01}},
            "aggregate": "fedadam",
        },
        {
            "name": "personalise",
            "method": "supervised",
            "start_from": "previous",
            "rounds": 10,
            "local": {"batch_size": 8},
            "personalise": {"name": "channel_decoupling", "private": 0.5},
        },
    ],
}
RUN = (
    "import json, sys; from pathlib import Path; from fedward_core import registry;"
    "from fedward_core.engine import Job; from fedward_core.spec import Spec;"
    "spec, data, out, workers = sys.argv[1:]; data = Path(data);"
    "job = Job(spec=Spec.parse(json.loads(spec)), run='run', data=data, out=Path(out), workers=int(workers),"
    "sites=tuple(sorted(p.stem for p in data.glob('*.npz'))));"
    "registry.resolve('engines', 'inline')().run(job, lambda event: None)"
)


@pytest.fixture(scope="module")
def hospitals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hospitals")
    generate(folder, sites=3, images_per_site=40, image_px=16, seed=1)
    return folder


def start(hospitals: Path, out: Path, workers: int) -> subprocess.Popen[bytes]:
    """Start, or take up, the run in a process group of its own."""
    command = [sys.executable, "-c", RUN, json.dumps(SPEC), str(hospitals), str(out), str(workers)]
    return subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL)


def finish(hospitals: Path, out: Path, workers: int) -> None:
    assert start(hospitals, out, workers).wait(timeout=300) == 0


def wait_for_round(out: Path, num_rounds: int) -> None:
    """Wait until so many rounds are on record."""
    events = out / "events.jsonl"
    deadline = time.monotonic() + 120
    while not events.exists() or events.read_text().count('"round_finished"') < num_rounds:
        assert time.monotonic() < deadline, "the run did not get there"
        time.sleep(0.01)


def weights(out: Path) -> list[str]:
    """Digests of the weights of both stages, and of what each site keeps of the last."""
    finals = [out / "stages" / stage / "final.safetensors" for stage in ("train", "personalise")]
    private = sorted((out / "sites").glob("*/personalise/round-00009-*"))
    assert len(private) == 3
    return [digest(read_arrays(path)[0]) for path in (*finals, *private)]


def children_of(group: int) -> list[int]:
    """Processes of a process group that are still there."""
    alive = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[2]) == group and fields[0] != "Z":
            alive.append(int(path.parent.name))
    return alive


@pytest.mark.slow
@pytest.mark.parametrize("attempt", range(5))
def test_a_run_killed_at_a_random_moment_ends_with_the_same_weights(
    attempt: int, hospitals: Path, tmp_path: Path
) -> None:
    finish(hospitals, tmp_path / "undisturbed", 1)
    random = np.random.default_rng(attempt)
    process = start(hospitals, tmp_path / "killed", 1 + attempt % 2)
    wait_for_round(tmp_path / "killed", int(random.integers(1, 18)))
    time.sleep(float(random.uniform(0, 0.2)))
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    finish(hospitals, tmp_path / "killed", 1 + attempt % 2)
    assert weights(tmp_path / "killed") == weights(tmp_path / "undisturbed")


def test_a_run_killed_in_both_stages_ends_with_the_same_weights(hospitals: Path, tmp_path: Path) -> None:
    finish(hospitals, tmp_path / "undisturbed", 1)
    for num_rounds in (3, 14):
        process = start(hospitals, tmp_path / "killed", 1)
        wait_for_round(tmp_path / "killed", num_rounds)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    finish(hospitals, tmp_path / "killed", 1)
    assert weights(tmp_path / "killed") == weights(tmp_path / "undisturbed")


def test_ctrl_c_ends_every_process_and_the_run_can_be_taken_up(hospitals: Path, tmp_path: Path) -> None:
    process = start(hospitals, tmp_path / "out", 2)
    wait_for_round(tmp_path / "out", 2)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to every process of the group
    assert process.wait(timeout=120) != 0
    assert not children_of(process.pid)
    assert json.loads((tmp_path / "out" / "run.json").read_text())["state"] == "interrupted"
    finish(hospitals, tmp_path / "out", 2)
    assert json.loads((tmp_path / "out" / "run.json").read_text())["state"] == "completed"


def test_workers_end_when_their_parent_is_killed(hospitals: Path, tmp_path: Path) -> None:
    process = start(hospitals, tmp_path / "out", 2)
    wait_for_round(tmp_path / "out", 2)
    assert len(children_of(process.pid)) == 3
    process.kill()
    process.wait()
    wait_until(lambda: not children_of(process.pid))
