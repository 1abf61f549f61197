"""``fedward up`` and the deployed ``fedward demo``: real processes, the bits of a simulation, nothing left behind."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from waiting import wait_until

from fedward_cli.commands.up import _tell_what_to_type
from fedward_cli.network import deployed
from fedward_cli.network.deployed import Deployed
from fedward_cli.network.local_network import Network, NetworkError, network
from fedward_cli.network.sites import Site, sites_of
from fedward_cli.simulation.execution import execute, job_for
from fedward_client.agent.home import AgentHome
from fedward_client.agent.membership import Enrolled, write_enrolled
from fedward_core.arrays import read_arrays
from fedward_core.cards import DataKind
from fedward_core.engine import Job
from fedward_core.errors import DataError
from fedward_core.fleet_messages import Membership
from fedward_core.spec import Spec
from fedward_models.data import sites_in

SUPERVISED = {"method": "supervised", "local": {"batch_size": 8}}
SPEC = {
    "name": "tiny",
    "seed": 3,
    "cohort": {"min_sites": 2},
    "dataset": {"name": "simulated", "image_px": 16},
    "evaluate": {"every": 2, "bootstrap": 10},
    "stages": [
        {"name": "together", "backbone": {"name": "small_cnn", "widths": [4, 8]}, "rounds": 2, **SUPERVISED},
        {"name": "apart", "start_from": "previous", "personalise": "fedbn", "rounds": 2, **SUPERVISED},
    ],
}
STAGES = ("together", "apart")


def processes_of(folder: Path) -> list[str]:
    """The command lines of every process that names a folder, in its command line or environment."""
    return list(_processes_naming(str(folder).encode()))


def _processes_naming(word: bytes) -> Iterator[str]:
    for process in Path("/proc").iterdir():
        if not process.name.isdigit() or process.name == str(os.getpid()):
            continue
        try:
            command = (process / "cmdline").read_bytes()
            if command and word in command + (process / "environ").read_bytes():
                yield command.replace(b"\0", b" ").decode()
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue


def job_in(out: Path, hospitals: Path) -> Job:
    return job_for(Spec.parse(SPEC), sites=sites_in(hospitals), data=hospitals, out=out)


@pytest.mark.slow
def test_a_network_of_processes_gives_the_bits_of_a_simulation(hospitals: Path, tmp_path: Path) -> None:
    sites = sites_of(hospitals, sites_in(hospitals))
    with network(tmp_path / "network", sites, dataset="simulated") as running:
        for pid in running.processes.values():
            assert Path(f"/proc/{pid}").exists()
        assert len(running.processes) == 5
        found = Deployed(running)(job_in(tmp_path / "deployed", hospitals))
        run = job_in(tmp_path, hospitals).run
        assert running.flower_run(run).isdigit()
        assert len(running.nodes()) == 3
        assert Deployed(running)(job_in(tmp_path / "deployed", hospitals)) == found
    assert processes_of(tmp_path) == []
    simulated = execute(job_in(tmp_path / "simulated", hospitals), engine="inline")
    assert (found.final, found.losses, found.sent) == (simulated.final, simulated.losses, simulated.sent)
    for stage in STAGES:
        ours, theirs = (
            read_arrays(tmp_path / kind / "stages" / stage / "final.safetensors")[0]
            for kind in ("deployed", "simulated")
        )
        assert {name: array.tobytes() for name, array in ours.items()} == {
            name: array.tobytes() for name, array in theirs.items()
        }


@pytest.mark.slow
def test_ctrl_c_ends_every_process_of_a_network_and_the_same_command_takes_it_up(tmp_path: Path) -> None:
    for _ in range(2):
        with up(tmp_path) as started:
            # Coordinator, SuperLink, and an agent, a node and a helper for each site; nodes start by and by.
            wait_until(lambda: len(processes_of(tmp_path)) >= 9)
            started.send_signal(signal.SIGINT)
            assert started.wait(300) == 130
            assert processes_of(tmp_path) == []


@pytest.mark.slow
def test_killing_the_command_ends_the_network_too(tmp_path: Path) -> None:
    with up(tmp_path) as started:
        started.kill()
    wait_until(lambda: not processes_of(tmp_path))


@contextmanager
def up(home: Path) -> Iterator[subprocess.Popen[str]]:
    """``fedward up``, once it says what to type next; whatever a test comes to, it is killed, and the network ends."""
    command = [sys.executable, "-m", "fedward_cli", "up", "--home", str(home / "up"), "--port", str(port_of(home))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as started:
        assert started.stdout is not None
        try:
            said = any(re.search(r"export FEDWARD_URL=\S+ FEDWARD_KEY=fw_", line) for line in started.stdout)
            assert said, "the network did not come up"
            yield started
        finally:
            started.kill()


def port_of(home: Path) -> int:
    """The same for each start over a folder: enrolled agents know it."""
    return 20000 + hash(str(home)) % 20000


def test_a_part_that_has_ended_is_named(tmp_path: Path) -> None:
    class Ended:
        def poll(self) -> int:
            return 1

    broken = Network(tmp_path, 1)
    broken.children["agent of hill"] = Ended()  # type: ignore[assignment]
    (tmp_path / "agent-of-hill.log").write_text("it began\n" + "it went on\n" * 20 + "it could not be\n")
    with pytest.raises(NetworkError, match=r"the agent of hill has ended.*agent-of-hill\.log") as raised:
        broken.check()
    assert str(raised.value).endswith("it could not be")
    assert "it began" not in str(raised.value)


def test_a_port_that_another_program_uses_is_told_before_anything_starts(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        taken = Network(tmp_path, port)
        with pytest.raises(NetworkError, match=rf"port {port} .*Address already in use.*choose another port"):
            taken.start_coordinator()
    assert not taken.children


def test_a_run_counts_as_there_once_all_of_it_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(path: Path) -> None:
        raise KeyboardInterrupt

    with zipfile.ZipFile(tmp_path / "run.zip", "w") as archive:
        for name in ("run.json", "events.jsonl", "stages/only/final.safetensors"):
            archive.writestr(name, "")
    with monkeypatch.context() as patch:
        patch.setattr(deployed, "_keep_events_of_the_run", killed)
        with pytest.raises(KeyboardInterrupt):
            deployed.unpack(tmp_path / "run.zip", tmp_path / "out")
    assert not (tmp_path / "out" / "run.json").exists()
    deployed.unpack(tmp_path / "run.zip", tmp_path / "out")
    assert (tmp_path / "out" / "run.json").exists()


def test_hospitals_that_enrolled_at_another_port_are_named_with_what_to_do(tmp_path: Path) -> None:
    home = AgentHome(tmp_path / "agents" / "hill")
    home.make()
    membership = Membership(site="hill", key="fw_secret", fleet=":1", node_authentication=False)
    write_enrolled(home, Enrolled(url="http://127.0.0.1:8080", membership=membership))
    with pytest.raises(NetworkError, match=r"enrolled at http://127\.0\.0\.1:8080.*start it at that port"):
        Network(tmp_path, 9090).enrol(Site(name="hill", path=tmp_path), "simulated", DataKind.IMAGE)


def test_sites_that_share_a_table_cannot_be_a_network(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("file,site,label\na.png,hill,normal\nb.png,north,normal\n")
    with pytest.raises(DataError, match="a file or a folder for each site"):
        sites_of(tmp_path, ("hill", "north"))


@pytest.mark.parametrize("found", [None, "/opt/fedward/bin/fedward"])
def test_the_way_to_the_program_is_told_where_the_shell_does_not_know_it(
    found: str | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: found)
    running: Any = SimpleNamespace(url="http://127.0.0.1:1", key="fw_k", processes={"coordinator": 7})
    _tell_what_to_type(running)
    assert (f"export PATH={Path(sys.executable).parent}" in capsys.readouterr().out) == (found is None)
