"""A hospital trains for itself while it takes part in a federation of real processes."""

import signal
import zipfile
from pathlib import Path

import pytest
from waiting import wait_until

from fedward_cli.network.deployed import Deployed
from fedward_cli.network.local_network import network
from fedward_cli.network.sites import sites_of
from fedward_cli.simulation.execution import execute, job_for
from fedward_client.agent.home import AgentHome
from fedward_client.agent.policy import read_policy
from fedward_client.jobs.job import JobState, LocalJob
from fedward_client.jobs.queue import JobQueue
from fedward_client.jobs.release import release
from fedward_core.arrays import digest, read_arrays
from fedward_core.processes.launching import end_child
from fedward_core.spec import Spec
from fedward_models.data import sites_in

PATIENCE_S = 240.0


def spec(name: str, rounds: int) -> Spec:
    backbone = {"name": "small_cnn", "widths": [4, 8]}
    local = {"batch_size": 8}
    stage = {"name": "only", "method": "supervised", "backbone": backbone, "rounds": rounds, "local": local}
    dataset = {"name": "simulated", "image_px": 16}
    evaluate = {"every": 100, "bootstrap": 0}
    return Spec.parse({"name": name, "seed": 3, "dataset": dataset, "evaluate": evaluate, "stages": [stage]})


def start_job(network: Path, *, rounds: int) -> tuple[JobQueue, LocalJob, Path]:
    """A job of the hospital of the north, which has trained a round, and where its events are."""
    home = AgentHome(network / "agents" / "north")
    queue = JobQueue(home.jobs)
    job = queue.submit(spec("own", rounds), read_policy(home.policy))
    events = queue.folder_of(job.id) / "run" / "events.jsonl"
    wait_until(lambda: events.exists() and "round_finished" in events.read_text(), patience_s=PATIENCE_S)
    return queue, job, events


@pytest.mark.slow
def test_a_job_and_a_run_go_on_side_by_side_and_neither_changes_the_other(hospitals: Path, tmp_path: Path) -> None:
    sites = sites_in(hospitals)
    with network(tmp_path / "network", sites_of(hospitals, sites), dataset="simulated") as running:
        queue, job, _ = start_job(tmp_path / "network", rounds=1000)
        Deployed(running)(job_for(spec("together", 3), sites=sites, data=hospitals, out=tmp_path / "deployed"))
        assert queue.read(job.id).state is JobState.RUNNING
        wait_until(lambda: queue.read(job.id).state.is_end, patience_s=PATIENCE_S)
        assert queue.read(job.id).state is JobState.COMPLETED
    execute(job_for(spec("together", 3), sites=sites, data=hospitals, out=tmp_path / "simulated"), engine="inline")
    final = "stages/only/final.safetensors"
    ours, theirs = (digest(read_arrays(tmp_path / kind / final)[0]) for kind in ("deployed", "simulated"))
    assert ours == theirs


@pytest.mark.slow
def test_a_job_outlives_the_kill_of_its_agent_and_its_own_and_stays_at_the_site(
    hospitals: Path, tmp_path: Path
) -> None:
    """A hospital's agent is killed, then it takes part in a run, then the job's process is killed too."""
    sites = sites_in(hospitals)
    with network(tmp_path / "network", sites_of(hospitals, sites), dataset="simulated") as running:
        queue, job, events = start_job(tmp_path / "network", rounds=1500)
        before = queue.read(job.id).process
        killed = running.children["agent of north"]
        killed.kill()
        end_child(killed)
        running.start_agent("north")
        running.wait_for_sites(len(sites))
        Deployed(running)(job_for(spec("together", 2), sites=sites, data=hospitals, out=tmp_path / "deployed"))
        wait_until(lambda: queue.read(job.id).state is JobState.RUNNING, patience_s=PATIENCE_S)
        process = queue.read(job.id).process
        assert process is not None
        assert process == before
        process.signal_group(signal.SIGKILL)
        wait_until(lambda: queue.read(job.id).state.is_end, patience_s=PATIENCE_S)
        found = queue.read(job.id)
        assert (found.state, found.deaths) == (JobState.COMPLETED, 1)
        assert "run_resumed" in events.read_text()
        assert [run["name"] for run in running.coordinator.get("/runs")] == ["together"]
    assert not list((tmp_path / "network" / "coordinator").rglob(f"*{job.id}*"))
    release(queue, job.id, tmp_path / "own.zip")
    assert "stages/only/final.safetensors" in zipfile.ZipFile(tmp_path / "own.zip").namelist()
