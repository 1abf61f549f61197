"""A site's own jobs run one after the other, survive what ends the agent, and stay at the site."""

import hashlib
import json
import shutil
import signal
import threading
import zipfile
from pathlib import Path

import pytest
from desk import PATIENCE_S, Desk, ended, runs
from waiting import wait_until

from fedward_client.agent.errors import AgentError, PolicyError
from fedward_client.agent.policy import read_policy
from fedward_client.jobs.job import JobState, LocalJob
from fedward_client.jobs.queue import JobQueue
from fedward_client.jobs.release import release
from fedward_client.jobs.runner import MOST_DEATHS, JobRunner
from fedward_client.jobs.slot import Slot
from fedward_client.jobs.work import Train
from fedward_core.errors import CheckpointError
from fedward_core.processes.process import Process
from fedward_core.spec import Spec

# Stands in for `fedward train`: ends as the spec's name says, and notes each start.
PROGRAM = """
import json, sys, time
from pathlib import Path
from fedward_client.jobs.fault import keep_fault
folder = Path(sys.argv[1])
with (folder / "starts").open("a") as file:
    file.write("start\\n")
starts = len((folder / "starts").read_text().splitlines())
state = folder.name.rpartition("-")[0]
if state == "hangs" and starts == 1:
    time.sleep(600)
if state == "dies":
    sys.exit(1)
if state == "refuses":
    keep_fault("expected 3 channels, found 1")
    sys.exit(1)
(folder / "run").mkdir(exist_ok=True)
if state == "garbles":
    (folder / "run" / "run.json").write_text("{")
    sys.exit(1)
if state != "stumbles" or starts > 1:
    (folder / "run" / "metrics.json").write_text("{}")
state = "failed" if state == "fails" else "completed"
(folder / "run" / "run.json").write_text(json.dumps({"state": state, "reason": "because" if state == "failed" else ""}))
"""


@pytest.fixture
def desk(real_desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Desk:
    real_desk.carry_out_by(PROGRAM, monkeypatch)
    return real_desk


def test_jobs_run_one_after_the_other_in_the_order_in_which_they_came(desk: Desk) -> None:
    jobs = [desk.submit(name) for name in ("works", "works", "fails")]
    assert [job.id for job in desk.queue.all()] == ["works-1", "works-2", "fails-1"]
    jobs = jobs[:2]
    desk.queue.ask_to_stop("fails-1")
    desk.runner.look()
    assert [job.state for job in desk.queue.all()] == [JobState.RUNNING, JobState.QUEUED, JobState.STOPPED]
    assert [desk.wait(job, ended).state for job in jobs] == [JobState.COMPLETED] * 2


def test_a_run_that_fails_ends_its_job_with_the_reason(desk: Desk) -> None:
    found = desk.wait(desk.submit("fails"), ended)
    assert (found.state, found.reason) == (JobState.FAILED, "because")


def test_a_job_whose_process_is_killed_is_started_again(desk: Desk) -> None:
    job = desk.wait(desk.submit("hangs"), lambda job: runs(job) and desk.starts(job))
    assert job.process is not None
    job.process.signal_group(signal.SIGKILL)
    found = desk.wait(job, ended)
    assert (found.state, found.deaths, desk.starts(job)) == (JobState.COMPLETED, 1, 2)


def test_a_job_that_dies_again_and_again_is_given_up_and_the_next_one_runs(desk: Desk) -> None:
    dies, works = desk.submit("dies"), desk.submit("works")
    found = desk.wait(dies, ended)
    assert (found.state, found.deaths, desk.starts(dies)) == (JobState.FAILED, MOST_DEATHS, MOST_DEATHS)
    assert desk.wait(works, ended).state is JobState.COMPLETED


def test_a_job_that_cannot_be_done_is_not_started_again(desk: Desk) -> None:
    job = desk.submit("refuses")
    found = desk.wait(job, ended)
    assert (found.state, found.reason) == (JobState.FAILED, "expected 3 channels, found 1")
    assert (found.deaths, desk.starts(job)) == (0, 1)


def test_the_end_of_the_machine_is_no_death_of_the_job(desk: Desk) -> None:
    """However often the machine is started anew, the run goes on from its last round."""
    job = desk.submit("works")
    earlier = Process(pid=1, started=7, boot="of another day")
    desk.queue.write(job.moved(JobState.RUNNING, process=earlier).model_copy(update={"deaths": MOST_DEATHS - 1}))
    found = desk.wait(job, ended)
    assert (found.state, found.deaths) == (JobState.COMPLETED, MOST_DEATHS - 1)


def test_an_agent_that_was_killed_finds_its_job_at_work(desk: Desk) -> None:
    job = desk.wait(desk.submit("hangs"), lambda job: runs(job) and desk.starts(job))
    desk.runner = JobRunner(desk.home, "north")
    desk.runner.look()
    assert desk.queue.read(job.id).process == job.process
    assert desk.starts(job) == 1


def test_an_agent_that_ends_in_order_ends_its_job_and_the_next_takes_it_up(desk: Desk) -> None:
    job = desk.wait(desk.submit("hangs"), lambda job: runs(job) and desk.starts(job))
    desk.submit("works")
    desk.runner.close()
    assert job.process is not None
    assert not job.process.is_alive
    assert desk.queue.read(job.id).state is JobState.QUEUED
    found = desk.wait(job, ended)
    assert (found.state, found.deaths) == (JobState.COMPLETED, 0)


def test_jobs_are_stopped_whether_they_run_or_wait(desk: Desk) -> None:
    job = desk.wait(desk.submit("hangs"), lambda job: runs(job) and desk.starts(job))
    waiting = desk.submit("works")
    for one in (job, waiting, job):
        desk.queue.ask_to_stop(one.id)
    desk.runner.look()
    assert [desk.queue.read(one.id).state for one in (job, waiting)] == [JobState.STOPPED] * 2
    assert job.process is not None
    assert not job.process.is_alive
    assert desk.starts(waiting) == 0


def test_a_run_that_ends_before_its_stop_is_seen_has_completed(desk: Desk) -> None:
    job = desk.submit("works")
    desk.runner.look()
    process = desk.queue.read(job.id).process
    assert process is not None
    wait_until(lambda: not process.is_alive, patience_s=PATIENCE_S)
    desk.queue.ask_to_stop(job.id)
    desk.runner.look()
    assert desk.queue.read(job.id).state is JobState.COMPLETED


def test_a_run_that_was_ended_before_its_figures_were_written_is_started_again_for_them(desk: Desk) -> None:
    job = desk.wait(desk.submit("stumbles"), ended)
    assert (job.state, desk.starts(job)) == (JobState.COMPLETED, 2)
    assert (desk.queue.folder_of(job.id) / "run" / "metrics.json").exists()


def test_a_damaged_record_of_a_run_ends_its_job_and_no_agent(desk: Desk) -> None:
    garbles, works = desk.submit("garbles"), desk.submit("works")
    found = desk.wait(garbles, ended)
    assert (found.state, found.deaths) == (JobState.FAILED, MOST_DEATHS)
    assert "job.log says why" in found.reason
    assert desk.wait(works, ended).state is JobState.COMPLETED


def test_a_full_disk_leaves_no_process_that_nobody_knows_of(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    job = desk.submit("hangs")
    noted: list[LocalJob] = []

    def full(_: JobQueue, job: LocalJob) -> None:
        noted.append(job)
        raise CheckpointError("cannot write 'job.json': No space left on device.")

    with monkeypatch.context() as patch:
        patch.setattr(JobQueue, "write", full)
        with pytest.raises(CheckpointError):
            desk.runner.look()
    (process,) = (one.process for one in noted)
    assert process is not None
    assert not process.is_alive
    assert desk.queue.read(job.id).state is JobState.QUEUED


def test_a_damaged_file_of_a_job_is_said_once_and_ends_no_agent(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("fedward_client.jobs.runner.LOOK_S", 0.0)
    path = desk.queue.folder_of(desk.submit("works").id) / "job.json"
    whole = path.read_text()
    for text in ("{", "{", whole, "{"):
        path.write_text(text)
        desk.runner.step()
    assert caplog.text.count("job.json of job 'works-1' is damaged") == 2


def test_a_damaged_file_of_a_job_holds_no_other_job_up(desk: Desk) -> None:
    damaged, hangs = desk.submit("works"), desk.submit("hangs")
    (desk.queue.folder_of(damaged.id) / "job.json").write_text("{")
    assert desk.queue.damaged() == [damaged.id]
    assert desk.queue.all() == [hangs]
    with pytest.raises(AgentError, match="of job 'works-1' is damaged"):
        desk.runner.look()
    process = desk.queue.read(hangs.id).process
    assert process is not None
    desk.runner.close()
    assert not process.is_alive
    assert desk.queue.read(hangs.id).state is JobState.QUEUED


def test_the_policy_says_which_datasets_jobs_may_use(desk: Desk) -> None:
    with pytest.raises(AgentError, match="offers no dataset 'liver': it offers chest, other"):
        desk.submit("works", dataset="liver")
    job = desk.submit("works")
    desk.home.policy.write_text(desk.home.policy.read_text() + "job_datasets: [other]\n")
    with pytest.raises(AgentError, match="gives dataset 'chest' to no job"):
        desk.submit("works")
    found = desk.wait(job, ended)
    assert found.state is JobState.FAILED
    assert "to no job" in found.reason


def test_jobs_wait_while_the_policy_cannot_be_read(desk: Desk) -> None:
    job, policy = desk.submit("works"), desk.home.policy.read_text()
    desk.home.policy.write_text("datasets: {chest:")
    with pytest.raises(PolicyError, match="nothing is allowed"):
        desk.runner.look()
    assert (desk.queue.read(job.id).state, desk.starts(job)) == (JobState.QUEUED, 0)
    desk.home.policy.write_text(policy)
    assert desk.wait(job, ended).state is JobState.COMPLETED


def test_a_job_whose_dataset_is_not_laid_out_yet_waits_and_holds_no_other_up(desk: Desk) -> None:
    early, works = desk.submit("works", dataset="other"), desk.submit("works")
    desk.runner.look()
    assert desk.queue.read(early.id).state is JobState.QUEUED
    assert desk.wait(works, ended).state is JobState.COMPLETED
    assert desk.starts(early) == 0


def test_nobody_else_looks_into_the_jobs_even_where_others_pass_through_the_home(desk: Desk) -> None:
    desk.home.jobs.mkdir(mode=0o755)
    desk.submit("works")
    assert desk.home.jobs.stat().st_mode & 0o777 == 0o700


def test_a_job_that_asks_for_workers_is_started_with_them(real_desk: Desk) -> None:
    stage = {"name": "only", "method": "rehearsal", "rounds": 1}
    spec = Spec.parse({"name": "two", "dataset": {"name": "chest", "image_px": 16}, "stages": [stage]})
    policy = read_policy(real_desk.home.policy)
    alone, together = real_desk.queue.submit(spec, policy), real_desk.queue.submit(spec, policy, ray_workers=2)
    assert "--ray-workers" not in real_desk.runner._command(alone, Path("data"))
    assert real_desk.runner._command(together, Path("data"))[-2:] == ["--ray-workers", "2"]
    assert real_desk.queue.read(together.id).moved(JobState.RUNNING).work == Train(ray_workers=2)


def test_what_is_no_job_is_said_to_be_none(desk: Desk) -> None:
    for name in ("drill-7", "../agent"):
        with pytest.raises(AgentError, match="fedward job list"):
            desk.queue.ask_to_stop(name)


def test_only_results_of_completed_jobs_are_released_and_nothing_private(desk: Desk, tmp_path: Path) -> None:
    job = desk.submit("works")
    with pytest.raises(AgentError, match="is queued"):
        release(desk.queue, job.id, tmp_path / "out.zip")
    desk.wait(job, ended)
    run = desk.queue.folder_of(job.id) / "run"
    for name in ("sites/north/only/entry.safetensors", "stages/only/final.safetensors", "stages/only/checkpoint-1"):
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).write_bytes(b"x")
    release(desk.queue, job.id, tmp_path / "out.zip")
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        names = {"metrics.json", "run.json", "stages/only/final.safetensors"}
        assert set(archive.namelist()) == {*names, "digests.json"}
        digests = {name: hashlib.sha256(archive.read(name)).hexdigest() for name in names}
        assert json.loads(archive.read("digests.json")) == digests
    with pytest.raises(AgentError, match="name no patients: leave --patients out"):
        release(desk.queue, job.id, tmp_path / "other.zip", patients=True)
    with pytest.raises(AgentError, match="exists"):
        release(desk.queue, job.id, tmp_path / "out.zip")
    shutil.rmtree(run)
    with pytest.raises(AgentError, match="has no results any more"):
        release(desk.queue, job.id, tmp_path / "other.zip")


@pytest.mark.slow
def test_a_real_job_and_orders_share_the_slot_and_a_kill_costs_nothing(real_desk: Desk) -> None:
    desk, slot = real_desk, Slot(real_desk.home.slot)
    job = desk.submit("drill", rounds=60)
    events = desk.queue.folder_of(job.id) / "run" / "events.jsonl"
    desk.wait(job, lambda job: events.exists() and "round_finished" in events.read_text())
    rounds_within_orders = []
    for number in range(6):
        with slot.for_order():
            before = _num_events(events)
            threading.Event().wait(0.2)
            rounds_within_orders.append(_num_events(events) - before)
        if number == 2:
            process = desk.queue.read(job.id).process
            if process is not None:
                process.signal_group(signal.SIGKILL)
        desk.runner.look()
    found = desk.wait(job, ended)
    assert found.state is JobState.COMPLETED
    assert rounds_within_orders == [0] * 6
    told = [json.loads(line) for line in events.read_text().splitlines()]
    finished = [event["round"] for event in told if event["kind"] == "round_finished"]
    assert sorted(set(finished)) == list(range(60))
    assert "run_resumed" in [event["kind"] for event in told]


def _num_events(path: Path) -> int:
    return len(path.read_text().splitlines())
