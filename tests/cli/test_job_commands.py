"""A hospital queues jobs of its own at the command line, and looks after them."""

import json
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest

from fedward_cli.simulation.results import read_results
from fedward_client.agent.home import AgentHome
from fedward_client.jobs.job import JobState
from fedward_client.jobs.queue import JobQueue


@pytest.fixture
def home(tmp_path: Path) -> AgentHome:
    home = AgentHome(tmp_path / "agent")
    home.make()
    home.policy.write_text("datasets: {simulated: {path: /srv/ward}}\n")
    return home


def move(home: AgentHome, job: str, state: JobState, reason: str = "") -> None:
    queue = JobQueue(home.jobs)
    queue.write(queue.read(job).moved(state, reason))


def test_a_job_is_submitted_listed_shown_and_stopped(bench: Any, home: AgentHome) -> None:
    submitted = bench.call("job", "submit", bench.spec(), "--home", home.path)
    assert submitted.output == "study-1 is queued\n"
    (listed,) = json.loads(bench.call("job", "list", "--home", home.path, "--json").stdout)
    assert (listed["id"], listed["dataset"], listed["state"]) == ("study-1", "simulated", "queued")
    assert "study-1" in bench.call("job", "list", "--home", home.path).stdout
    assert bench.call("job", "stop", "study-1", "--home", home.path).exit_code == 0
    assert JobQueue(home.jobs).is_to_stop("study-1")
    move(home, "study-1", JobState.STOPPED)
    assert bench.call("job", "show", "study-1", "--home", home.path).stdout == "study-1 is stopped\n"


def test_a_damaged_job_is_told_beside_the_others(bench: Any, home: AgentHome) -> None:
    for _ in range(2):
        bench.call("job", "submit", bench.spec(), "--home", home.path)
    (home.jobs / "study-1" / "job.json").write_text("{")
    found = bench.call("job", "list", "--home", home.path, "--json")
    assert [job["id"] for job in json.loads(found.stdout)] == ["study-2"]
    assert "job.json of job 'study-1' is damaged" in " ".join(found.stderr.split())


def test_a_dataset_that_jobs_may_not_use_is_refused(bench: Any, home: AgentHome) -> None:
    home.policy.write_text("datasets: {simulated: {path: /srv/ward}}\njob_datasets: []\n")
    found = bench.call("job", "submit", bench.spec(), "--home", home.path)
    assert found.exit_code == 1
    assert "to no job" in " ".join(found.output.split())
    assert "ward" not in found.output.replace("fedward", "")


def test_a_home_that_is_not_there_is_told_and_not_shown_as_empty(bench: Any, tmp_path: Path) -> None:
    found = bench.call("job", "list", "--home", tmp_path / "agnet")
    assert found.exit_code == 1
    assert "--home names the agent's" in " ".join(found.stderr.replace("│", " ").split())


def test_watching_ends_with_the_figures_of_a_training_and_where_they_are(bench: Any, home: AgentHome) -> None:
    bench.call("job", "submit", bench.spec(), "--home", home.path)
    run = home.jobs / "study-1" / "run"
    bench.call("train", bench.spec(), "--data", bench.data, "--site", "north", "--out", run)
    move(home, "study-1", JobState.COMPLETED)
    found = bench.call("job", "watch", "study-1", "--home", home.path)
    assert found.exit_code == 0
    assert "study-1: test split" in found.stdout
    assert str(read_results(run).final["north"]["accuracy"]) in found.stdout
    assert "jobs/study-1/run" in found.stderr


@pytest.mark.parametrize(("state", "code"), [(JobState.COMPLETED, 0), (JobState.FAILED, 1), (JobState.STOPPED, 1)])
def test_watching_tells_how_a_job_has_ended(bench: Any, home: AgentHome, state: JobState, code: int) -> None:
    bench.call("job", "submit", bench.spec(), "--home", home.path)
    (home.jobs / "study-1" / "run").mkdir()
    (home.jobs / "study-1" / "run" / "events.jsonl").touch()
    move(home, "study-1", state, "the reason")
    found = bench.call("job", "watch", "study-1", "--home", home.path)
    assert found.exit_code == code
    assert f"study-1 is {state}: the reason" in found.stdout


def test_ctrl_c_ends_the_watching_and_not_the_job(bench: Any, home: AgentHome, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: float) -> None:
        raise KeyboardInterrupt

    bench.call("job", "submit", bench.spec(), "--home", home.path)
    monkeypatch.setattr(time, "sleep", interrupted)
    found = bench.call("job", "watch", "study-1", "--home", home.path)
    assert found.exit_code == 130
    assert "job 'study-1' goes on" in found.stderr
    assert not JobQueue(home.jobs).is_to_stop("study-1")


def test_results_are_released_to_a_file_once_there_are_any(bench: Any, home: AgentHome, tmp_path: Path) -> None:
    bench.call("job", "submit", bench.spec(), "--home", home.path)
    assert bench.call("job", "release", "study-1", "--home", home.path, "--out", tmp_path / "out.zip").exit_code == 1
    move(home, "study-1", JobState.COMPLETED)
    (home.jobs / "study-1" / "run").mkdir()
    (home.jobs / "study-1" / "run" / "metrics.csv").write_text("stage\n")
    assert bench.call("job", "release", "study-1", "--home", home.path, "--out", tmp_path / "out.zip").exit_code == 0
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        assert "metrics.csv" in archive.namelist()
