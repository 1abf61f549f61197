"""A hospital queues predictions and maps of a finished model at the command line, and its agent makes them."""

import csv
import json
import os
import shutil
import signal
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fedward_cli.commands.opening import open_model
from fedward_client.agent.home import AgentHome
from fedward_client.jobs.job import JobState, LocalJob
from fedward_client.jobs.queue import JobQueue
from fedward_client.jobs.runner import JobRunner
from fedward_client.jobs.slot import Slot
from fedward_core.cards import DataKind
from fedward_models.data import generate
from fedward_models.frozen import FOLDERS

PATIENCE_S = 240.0
VIT = {"name": "vit", "width": 16, "depth": 1, "heads": 2, "patch_px": 8}


@pytest.fixture
def home(tmp_path: Path, hospitals: Path) -> AgentHome:
    """The agent's folder of the hospital of the north, whose catalogue is laid out."""
    home = AgentHome(tmp_path / "agent")
    home.make()
    home.policy.write_text(f"datasets: {{simulated: {{path: {hospitals / 'north.npz'}}}, other: {{path: /x}}}}\n")
    (home.catalogue / "simulated").mkdir(parents=True)
    (home.catalogue / "simulated" / "north.npz").symlink_to(hospitals / "north.npz")
    return home


@pytest.fixture
def runner(home: AgentHome) -> Iterator[JobRunner]:
    runner = JobRunner(home, "north")
    yield runner
    runner.close()


def wait(home: AgentHome, runner: JobRunner, id_: str, holds: Callable[[LocalJob], bool]) -> LocalJob:
    """Look, as the agent does, until something holds of a job."""
    queue, deadline = JobQueue(home.jobs), time.monotonic() + PATIENCE_S
    while not holds(found := queue.read(id_)):
        assert not found.state.is_end, (queue.folder_of(id_) / "job.log").read_text()
        assert time.monotonic() < deadline, found
        runner.look()
        threading.Event().wait(0.02)
    return found


def completed(job: LocalJob) -> bool:
    return job.state is JobState.COMPLETED


def said(found: Any) -> str:
    return " ".join(found.output.replace("│", " ").split())


def test_a_use_of_a_model_is_submitted_with_what_was_chosen_and_listed(
    bench: Any, home: AgentHome, trained: Any
) -> None:
    chosen = ("--split", "val", "--map", "gradients", "--images", 7)
    predicted = bench.call("job", "predict", trained(), "--home", home.path)
    explained = bench.call("job", "explain", trained(), "--home", home.path, "--dataset", "other", *chosen)
    assert (predicted.stdout, explained.stdout) == ("study-predict-1 is queued\n", "study-explain-1 is queued\n")
    listed = json.loads(bench.call("job", "list", "--home", home.path, "--json").stdout)
    common = {"stage": "train", "best": False, "kept": False}
    assert [(job["dataset"], job["work"]) for job in listed] == [
        ("simulated", {"kind": "predict", **common, "split": "test"}),
        ("other", {"kind": "explain", **common, "split": "val", "map": "gradients", "images": 7}),
    ]
    assert "explain" in bench.call("job", "list", "--home", home.path).stdout


def test_what_cannot_be_done_is_refused_at_once_and_queues_nothing(
    bench: Any, home: AgentHome, trained: Any, tmp_path: Path
) -> None:
    unfinished = Path(shutil.copytree(trained(), tmp_path / "unfinished"))
    (unfinished / "stages" / "train" / "final.safetensors").unlink()
    for run, options, message in (
        (trained(), ("--dataset", "liver"), "site.yaml offers no dataset 'liver': it offers other, simulated"),
        (trained(), ("--stage", "second"), "has no stage 'second'"),
        (trained(), ("--kept", trained()), "holds no private state"),
        (unfinished, (), "has no final weights"),
        (trained(method="mae", **VIT), (), "names no classes"),
    ):
        for command in ("predict", "explain"):
            refused = bench.call("job", command, run, "--home", home.path, *options)
            assert (refused.exit_code, message in said(refused)) == (1, True), said(refused)
    refused = bench.call("job", "explain", trained(), "--home", home.path, "--map", "attention")
    assert "choose the map 'gradients'" in said(refused)
    home.policy.write_text(home.policy.read_text() + "job_datasets: [other]\n")
    refused = bench.call("job", "predict", trained(), "--home", home.path)
    assert "gives dataset 'simulated' to no job" in said(refused)
    assert not JobQueue(home.jobs).all()


def test_frozen_weights_are_found_where_the_job_will_find_them(
    bench: Any, home: AgentHome, trained: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_in: list[str] = []

    def opened(*arguments: Any, **how: Any) -> Any:
        looked_in.append(os.environ[FOLDERS])
        return open_model(*arguments, **how)

    monkeypatch.setattr("fedward_cli.commands.jobs.open_model", opened)
    for before, during in ((None, f"weights:{home.weights}"), ("/own", f"/own:{home.weights}")):
        monkeypatch.delenv(FOLDERS, raising=False) if before is None else monkeypatch.setenv(FOLDERS, before)
        assert bench.call("job", "predict", trained(), "--home", home.path).exit_code == 0
        assert (looked_in.pop(), os.environ.get(FOLDERS)) == (during, before)


@pytest.mark.parametrize(("state", "code"), [(JobState.COMPLETED, 0), (JobState.FAILED, 1)])
def test_watching_waits_for_the_end_of_what_tells_no_events(
    bench: Any, home: AgentHome, trained: Any, state: JobState, code: int
) -> None:
    bench.call("job", "predict", trained(), "--home", home.path)
    queue = JobQueue(home.jobs)
    queue.write(queue.read("study-predict-1").moved(state))
    found = bench.call("job", "watch", "study-predict-1", "--home", home.path)
    assert (found.exit_code, found.stdout) == (code, f"study-predict-1 is {state}\n")


def test_whoever_releases_what_names_patients_has_asked_for_it_and_is_told(
    bench: Any, home: AgentHome, trained: Any, tmp_path: Path
) -> None:
    bench.call("job", "explain", trained(), "--home", home.path)
    queue = JobQueue(home.jobs)
    queue.write(queue.read("study-explain-1").moved(JobState.COMPLETED))
    (queue.folder_of("study-explain-1") / "results").mkdir()
    (queue.folder_of("study-explain-1") / "results" / "north-00001.png").touch()
    release = ("job", "release", "study-explain-1", "--home", home.path, "--out", tmp_path / "out.zip")
    refused = bench.call(*release)
    assert (refused.exit_code, "give --patients once it is decided" in said(refused)) == (1, True)
    found = bench.call(*release, "--patients")
    assert (found.exit_code, "They name or show patients" in said(found)) == (0, True)
    assert "north-00001.png" in zipfile.ZipFile(tmp_path / "out.zip").namelist()


def test_a_model_predicts_for_the_site_beside_orders_though_its_run_is_gone_and_its_process_killed(
    bench: Any, home: AgentHome, runner: JobRunner, trained: Any, tmp_path: Path
) -> None:
    """An order holds the slot until the process was killed once, so that it cannot have predicted before."""
    run = Path(shutil.copytree(trained(), tmp_path / "run"))
    bench.call("job", "predict", run, "--home", home.path)
    shutil.rmtree(run)
    results = home.jobs / "study-predict-1" / "results"
    with Slot(home.slot).for_order():
        process = wait(home, runner, "study-predict-1", lambda job: job.process is not None).process
        assert process is not None
        process.signal_group(signal.SIGKILL)
        wait(home, runner, "study-predict-1", lambda job: job.deaths == 1)
        assert not results.exists()
    assert wait(home, runner, "study-predict-1", completed).deaths == 1
    bench.call("predict", trained(), "--data", home.catalogue / "simulated", "--out", tmp_path / "by_hand")
    assert sorted(file.name for file in results.iterdir()) == ["predictions.csv", "reliability.png", "report.json"]
    with (results / "predictions.csv").open() as ours, (tmp_path / "by_hand" / "predictions.csv").open() as theirs:
        rows = list(csv.reader(ours))
        assert len(rows) > 1
        assert rows == list(csv.reader(theirs))


def test_data_that_do_not_fit_the_model_end_the_job_at_its_first_start(
    bench: Any, home: AgentHome, runner: JobRunner, trained: Any
) -> None:
    generate(home.path / "others", sites=1, images_per_site=20, image_px=16, kind=DataKind.VOLUME, depth=8)
    (home.catalogue / "other").mkdir()
    (volumes,) = (home.path / "others").glob("*.npz")
    (home.catalogue / "other" / "north.npz").symlink_to(volumes)
    bench.call("job", "predict", trained(), "--home", home.path, "--dataset", "other")
    found = wait(home, runner, "study-predict-1", lambda job: job.state is JobState.FAILED)
    assert found.deaths == 0
    assert "which kind 'image' needs" in found.reason
    assert found.reason in bench.call("job", "show", "study-predict-1", "--home", home.path).stdout


@pytest.mark.slow
def test_a_model_is_explained_for_the_site_by_its_own_parts(
    bench: Any, home: AgentHome, runner: JobRunner, trained: Any
) -> None:
    run = trained(personalise="fedbn", **VIT)
    kept = ("--kept", run / "sites" / "north" / "train")
    submitted = bench.call("job", "explain", run, "--home", home.path, *kept, "--images", 2)
    assert submitted.exit_code == 0, submitted.output
    wait(home, runner, "study-explain-1", completed)
    pictures = [file.name for file in (home.jobs / "study-explain-1" / "results").iterdir()]
    assert len(pictures) == 2
    assert all(name.startswith("north-") for name in pictures)
    assert "not the model of any site" not in (home.jobs / "study-explain-1" / "job.log").read_text()
