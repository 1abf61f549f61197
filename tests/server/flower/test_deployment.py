"""A run over real processes: the same bits as in one process, refusals with reasons, and nothing left behind."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from waiting import wait_until

from fedward_core.engine import Job
from fedward_core.errors import RoundError
from fedward_core.events import Event, EventKind, Listener
from fedward_core.spec import Spec
from fedward_models.data import generate
from fedward_server.engines import local_network
from fedward_server.engines.deployment import DeploymentEngine, EventReader
from fedward_server.engines.inline import InlineEngine
from fedward_server.flower.job_file import read_job, write_job


@pytest.fixture(scope="module")
def hospitals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hospitals")
    generate(folder, sites=2, images_per_site=20, image_px=16, seed=1)
    return folder


def job_of(hospitals: Path, out: Path, *, rounds: int) -> Job:
    stage = {"name": "only", "method": "rehearsal", "rounds": rounds}
    cohort = {"min_sites": 2, "round_deadline_s": 120}
    dataset = {"name": "simulated", "image_px": 16}
    spec = Spec.parse({"name": "drill", "seed": 7, "dataset": dataset, "cohort": cohort, "stages": [stage]})
    sites = tuple(sorted(path.stem for path in hospitals.glob("*.npz")))
    return Job(spec=spec, run="drill", sites=sites, data=hospitals, out=out)


def digests(run: Callable[[Job, Listener], None], job: Job) -> list[str]:
    events: list[Event] = []
    run(job, events.append)
    assert events[-1].kind is EventKind.RUN_FINISHED
    return [event.facts["digest"] for event in events if event.kind is EventKind.ROUND_FINISHED]


def processes_of(folder: Path) -> dict[int, str]:
    """Every process that was started for a run's folder, by its command line or environment."""
    return dict(_processes_naming(str(folder).encode()))


def _processes_naming(word: bytes) -> Iterator[tuple[int, str]]:
    for process in Path("/proc").iterdir():
        if not process.name.isdigit() or process.name == str(os.getpid()):
            continue
        try:
            command = (process / "cmdline").read_bytes()
            if command and word in command + (process / "environ").read_bytes():
                yield int(process.name), command.replace(b"\0", b" ").decode()
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue


def test_three_rounds_over_a_superlink_and_two_agents_give_the_bits_of_one_process(
    hospitals: Path, tmp_path: Path
) -> None:
    alone = digests(InlineEngine().run, job_of(hospitals, tmp_path / "alone", rounds=3))
    deployed = digests(DeploymentEngine().run, job_of(hospitals, tmp_path / "deployed", rounds=3))
    assert len(set(alone)) == 3
    assert deployed == alone
    assert processes_of(tmp_path / "deployed") == {}
    assert not list((tmp_path / "deployed").rglob("*.token"))


@pytest.mark.slow
def test_a_site_that_has_not_approved_the_app_refuses_it_with_a_reason_on_the_run(
    hospitals: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = local_network._agent

    def start_strict(job: Job, site: str, home: Path, superlink: str, digest: str) -> AbstractContextManager[None]:
        return start(job, site, home, superlink, digest if site != "river" else "0" * 64)

    monkeypatch.setattr(local_network, "_agent", start_strict)
    events: list[Event] = []
    job = job_of(hospitals, tmp_path / "refused", rounds=1)
    with pytest.raises(RoundError, match=r"site 'river' gave no card .* it has not approved this app"):
        DeploymentEngine().run(job, events.append)
    assert events[-1].kind is EventKind.RUN_FAILED
    assert "it has not approved this app" in events[-1].facts["reason"]
    assert "not approved" in (job.out / "network" / "river" / "agent.log").read_text()
    assert not (job.out / "network" / "river" / "flower" / "apps").exists()
    assert processes_of(job.out) == {}


@pytest.mark.slow
def test_killing_what_started_the_network_ends_the_whole_network(hospitals: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from fedward_server.flower.job_file import read_job;"
        "from fedward_server.engines.deployment import DeploymentEngine;"
        "DeploymentEngine().run(read_job(Path(sys.argv[1])), lambda event: None)"
    )
    job = job_of(hospitals, tmp_path / "killed", rounds=1000)
    file = tmp_path / "job.json"
    write_job(file, job)
    assert read_job(file) == job
    with subprocess.Popen([sys.executable, "-c", code, str(file)]) as starter:
        wait_until(lambda: "round_finished" in events_text(job.out))
        running = " ".join(processes_of(job.out).values())
        for program in (
            "flower-superlink",
            "flwr-serverapp",
            "flower.supernode",
            "warm_helper",
            "fedward_client.agent",
        ):
            assert program in running
        starter.send_signal(signal.SIGKILL)
    wait_until(lambda: not processes_of(job.out))


def events_text(out: Path) -> str:
    path = out / "events.jsonl"
    return path.read_text() if path.exists() else ""


def test_events_are_passed_on_once_each_and_only_when_whole(tmp_path: Path) -> None:
    path, seen = tmp_path / "events.jsonl", list[Event]()
    line = Event(kind=EventKind.WARNING, time_s=1.0).model_dump_json() + "\n"
    path.write_text(line + line[:10])
    reader = EventReader(path, seen.append)
    path.write_text(line)  # a new attempt drops what the one before did not finish
    with path.open("a") as file:
        file.write(line + line[:10])
        file.flush()
        reader.read()
        reader.read()
        assert len(seen) == 1
        file.write(line[10:])
    reader.read()
    assert len(seen) == 2
