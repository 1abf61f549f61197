"""A job has a finished model predict or explain: it has its own copy of the model, and starts anew if it is killed."""

import json
import shutil
import signal
import zipfile
from pathlib import Path

import numpy as np
import pytest
from desk import PATIENCE_S, Desk, ended, runs
from waiting import wait_until

from fedward_client.agent.errors import AgentError
from fedward_client.agent.policy import read_policy
from fedward_client.jobs.job import JobState, LocalJob
from fedward_client.jobs.model_copy import ModelSource
from fedward_client.jobs.queue import JobQueue
from fedward_client.jobs.release import release
from fedward_client.jobs.runner import MOST_DEATHS, JobRunner
from fedward_client.jobs.work import Explain, Predict, Train
from fedward_client.private_store import FilePrivateStore
from fedward_core.cards import Split
from fedward_core.private_state import PrivateEntry
from fedward_core.spec import Spec

# Stands in for `fedward predict` and `fedward explain`: ends as the run's name says, and notes each start.
PROGRAM = """
import os, sys, time
from pathlib import Path
from fedward_client.jobs.fault import keep_fault
folder = Path(sys.argv[1])
with (folder / "starts").open("a") as file:
    file.write("start\\n")
starts = len((folder / "starts").read_text().splitlines())
name, kind, _ = folder.name.split("-")
if name == "dies":
    sys.exit(1)
if name == "refuses":
    keep_fault("the images do not fit")
    sys.exit(1)
half = folder / f".results.{os.getpid()}.part"
half.mkdir()
for file in ("predictions.csv", "report.json", "reliability.png") if kind == "predict" else ("north-00000.png",):
    (half / file).write_text(file)
    if name == "hangs" and starts == 1:
        time.sleep(600)
half.rename(folder / "results")
if name == "trips":
    sys.exit(1)
"""
PREDICT, EXPLAIN = Predict(stage="only"), Explain(stage="only", map="gradients", images=4)


@pytest.fixture
def desk(real_desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Desk:
    real_desk.carry_out_by(PROGRAM, monkeypatch)
    return real_desk


def source(desk: Desk, name: str, *, kept: Path | None = None) -> ModelSource:
    """A finished run, as far as a job copies it."""
    stage = {"name": "only", "method": "rehearsal", "rounds": 1}
    spec = Spec.parse({"name": name, "dataset": {"name": "chest", "image_px": 16}, "stages": [stage]})
    weights = desk.home.path / "finished" / name / "stages" / "only"
    weights.mkdir(parents=True, exist_ok=True)
    for which in ("final", "best"):
        (weights / f"{which}.safetensors").write_text(which)
    return ModelSource(folder=weights.parents[1], spec=spec, kept=kept)


def submit(desk: Desk, name: str, work: Predict | Explain = PREDICT, *, dataset: str = "chest") -> LocalJob:
    policy = read_policy(desk.home.policy)
    return desk.queue.submit_use(source(desk, name), work, policy, dataset=dataset)


def half_done(desk: Desk, job: LocalJob) -> list[Path]:
    return list(desk.queue.folder_of(job.id).glob(".results.*.part/*"))


def test_a_use_of_a_model_waits_its_turn_and_has_completed_once_its_results_are_whole(desk: Desk) -> None:
    training, uses = desk.submit("queued"), [submit(desk, "works"), submit(desk, "works", EXPLAIN)]
    assert [job.id for job in uses] == ["works-predict-1", "works-explain-1"]
    desk.queue.ask_to_stop(training.id)
    desk.runner.look()
    assert [job.state for job in desk.queue.all()] == [JobState.STOPPED, JobState.RUNNING, JobState.QUEUED]
    assert [desk.wait(job, ended).state for job in uses] == [JobState.COMPLETED] * 2
    assert desk.queue.read("works-explain-1").work == EXPLAIN


def test_a_use_that_is_killed_starts_anew_and_nothing_half_done_stays(desk: Desk) -> None:
    job = desk.wait(submit(desk, "hangs"), lambda job: runs(job) and half_done(desk, job))
    assert job.process is not None
    job.process.signal_group(signal.SIGKILL)
    found = desk.wait(job, ended)
    assert (found.state, found.deaths, desk.starts(job)) == (JobState.COMPLETED, 1, 2)
    assert not half_done(desk, job)


def test_a_use_that_dies_again_and_again_is_given_up(desk: Desk) -> None:
    found = desk.wait(submit(desk, "dies"), ended)
    assert (found.state, found.deaths) == (JobState.FAILED, MOST_DEATHS)
    assert found.reason == f"its process died {MOST_DEATHS} times before its end: job.log says why"


def test_a_use_that_cannot_be_made_is_not_started_again(desk: Desk) -> None:
    job = submit(desk, "refuses")
    found = desk.wait(job, ended)
    assert (found.state, found.reason, found.deaths) == (JobState.FAILED, "the images do not fit", 0)
    assert desk.starts(job) == 1


def test_a_use_whose_results_are_whole_has_completed_however_its_process_ended_and_whoever_saw_it(desk: Desk) -> None:
    job = desk.wait(submit(desk, "trips"), runs)
    assert job.process is not None
    wait_until(lambda: job.process and not job.process.is_alive, patience_s=PATIENCE_S)
    desk.runner = JobRunner(desk.home, "north")
    assert desk.wait(job, ended).state is JobState.COMPLETED
    assert desk.starts(job) == 1


def test_a_use_that_is_stopped_leaves_nothing_half_done(desk: Desk) -> None:
    job = desk.wait(submit(desk, "hangs"), lambda job: runs(job) and half_done(desk, job))
    desk.queue.ask_to_stop(job.id)
    desk.runner.look()
    assert desk.queue.read(job.id).state is JobState.STOPPED
    assert not half_done(desk, job)
    assert job.process is not None
    assert not job.process.is_alive


@pytest.mark.parametrize(("best", "weights"), [(False, "final"), (True, "best")])
def test_a_job_needs_the_run_no_more_once_it_is_submitted(real_desk: Desk, best: bool, weights: str) -> None:
    kept = real_desk.home.path / "kept"
    for round_ in range(2):
        FilePrivateStore(kept).write(PrivateEntry(round=round_, parent="ab", arrays={"a": np.full(2, float(round_))}))
    run = source(real_desk, "works", kept=kept)
    work, policy = Predict(stage="only", best=best, kept=True), read_policy(real_desk.home.policy)
    job = real_desk.queue.submit_use(run, work, policy, dataset="chest")
    shutil.rmtree(run.folder)
    shutil.rmtree(kept)
    folder = real_desk.queue.folder_of(job.id)
    (copied,) = (folder / "model" / "stages").rglob("*.safetensors")
    assert (copied.name, copied.read_text()) == (f"{weights}.safetensors", weights)
    assert Spec.read(folder / "model" / "spec.yaml").digest() == job.spec_digest == run.spec.digest()
    assert [entry.name for entry in (folder / "kept").iterdir()] == ["round-00001-ab.safetensors"]


def test_the_process_is_told_where_the_copy_is_and_what_was_chosen(real_desk: Desk) -> None:
    work = Explain(stage="only", best=True, split=Split.VALIDATION, map="attention", images=7)
    job = submit(real_desk, "works", work)
    folder, data = real_desk.queue.folder_of(job.id), real_desk.home.catalogue / "chest"
    places = [str(folder / "model"), "--data", str(data), "--out", str(folder / "results")]
    chosen = ["--stage", "only", "--best", "--split", "val", "--map", "attention", "--images", "7"]
    assert real_desk.runner._command(job, data)[3:] == ["explain", *places, *chosen]
    own = job.model_copy(update={"work": Predict(stage="only", kept=True)})
    assert real_desk.runner._command(own, data)[-4:] == ["--kept", str(folder / "kept"), "--split", "test"]


def test_a_run_that_went_meanwhile_leaves_no_job(desk: Desk) -> None:
    run = source(desk, "works")
    shutil.rmtree(run.folder)
    with pytest.raises(FileNotFoundError):
        desk.queue.submit_use(run, PREDICT, read_policy(desk.home.policy), dataset="chest")
    assert not list(desk.home.jobs.iterdir())


def test_the_policy_of_jobs_holds_for_uses_of_a_model(desk: Desk) -> None:
    with pytest.raises(AgentError, match="offers no dataset 'liver': it offers chest, other"):
        submit(desk, "works", dataset="liver")
    job = submit(desk, "works")
    desk.home.policy.write_text(desk.home.policy.read_text() + "job_datasets: [other]\n")
    with pytest.raises(AgentError, match="gives dataset 'chest' to no job"):
        submit(desk, "works")
    found = desk.wait(job, ended)
    assert (found.state, "to no job" in found.reason) == (JobState.FAILED, True)


def test_a_job_of_an_earlier_release_is_a_training(desk: Desk) -> None:
    job = desk.submit("works")
    path = desk.queue.folder_of(job.id) / "job.json"
    values = json.loads(path.read_text())
    assert values.pop("work") == {"kind": "train", "ray_workers": 1}
    path.write_text(json.dumps(values | {"ray_workers": 2}))
    assert desk.queue.read(job.id).work == Train(ray_workers=2)


def test_only_what_names_no_patient_is_released_unless_it_is_asked_for(desk: Desk, tmp_path: Path) -> None:
    job = desk.wait(submit(desk, "works"), ended)
    assert released(desk.queue, job, tmp_path / "figures.zip") == {"report.json", "reliability.png"}
    everything = {"report.json", "reliability.png", "predictions.csv"}
    assert released(desk.queue, job, tmp_path / "all.zip", patients=True) == everything
    assert (tmp_path / "all.zip").stat().st_mode & 0o777 == 0o600


def test_pictures_of_patients_are_released_only_if_they_are_asked_for(desk: Desk, tmp_path: Path) -> None:
    job = desk.wait(submit(desk, "works", EXPLAIN), ended)
    with pytest.raises(AgentError, match="names or shows patients: give --patients"):
        release(desk.queue, job.id, tmp_path / "out.zip")
    assert not list(tmp_path.glob("*.zip"))
    assert released(desk.queue, job, tmp_path / "out.zip", patients=True) == {"north-00000.png"}


def released(queue: JobQueue, job: LocalJob, path: Path, *, patients: bool = False) -> set[str]:
    """The files in the zip, but for their digests."""
    release(queue, job.id, path, patients=patients)
    with zipfile.ZipFile(path) as archive:
        names = set(archive.namelist()) - {"digests.json"}
        assert set(json.loads(archive.read("digests.json"))) == names
        return names
