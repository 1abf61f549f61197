"""Programs that end with their starter, and programs that do not."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from waiting import wait_until

from fedward_core.processes.launching import SECRETS, end_child, end_service, start_child, start_service
from fedward_core.processes.process import Process

SLEEP = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(600)"]
# Starts a child and tells its id; ends when its input does.
STARTER = """
import signal, sys
from pathlib import Path
from fedward_core.processes.launching import SECRETS, start_child
number = signal.Signals(int(sys.argv[2]))
child = start_child([sys.executable, "-c", sys.argv[3]], log=Path(sys.argv[1]), at_starters_death=number)
print(child.pid, flush=True)
input()
"""
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_child_gets_its_signal_when_its_starter_is_killed(number: signal.Signals, tmp_path: Path) -> None:
    log = tmp_path / "child.log"
    command = [
        sys.executable,
        "-c",
        STARTER,
        str(log),
        str(int(number)),
        DEAF if number == signal.SIGKILL else SLEEP[2],
    ]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as starter:
        assert starter.stdout is not None
        child = Process.of(int(starter.stdout.readline()))
        assert child is not None
        wait_until(lambda: "up" in log.read_text())
        starter.kill()
    wait_until(lambda: not child.is_alive)


def test_a_child_that_does_not_listen_is_ended_with_its_group(tmp_path: Path) -> None:
    child = start_child([sys.executable, "-c", DEAF], log=tmp_path / "child.log")
    wait_until(lambda: "up" in (tmp_path / "child.log").read_text())
    end_child(child, patience_s=0.1)
    end_child(child)
    assert child.returncode == -signal.SIGKILL


def test_a_child_is_told_no_secret_of_its_starters_and_its_log_is_its_users_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in SECRETS:
        monkeypatch.setenv(name, "fw_told")
    log = tmp_path / "child.log"
    child = start_child(SLEEP, log=log, environment={"COLOUR": "green"})
    wait_until(lambda: "up" in log.read_text())
    environment = Path(f"/proc/{child.pid}/environ").read_bytes()
    end_child(child)
    assert b"COLOUR=green" in environment
    assert b"fw_told" not in environment
    assert log.stat().st_mode & 0o077 == 0


def test_a_service_is_nobodys_child_and_knows_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SECRETS:
        monkeypatch.setenv(name, "secret")
    service = start_service(SLEEP, log=tmp_path / "service.log", environment={"COLOUR": "green"})
    assert service == Process.of(service.pid)
    assert os.getsid(service.pid) == service.pid
    stat = Path(f"/proc/{service.pid}/stat").read_text().rpartition(")")[2].split()
    assert int(stat[1]) != os.getpid()
    wait_until(lambda: "up" in (tmp_path / "service.log").read_text())
    environment = Path(f"/proc/{service.pid}/environ").read_bytes()
    assert b"COLOUR=green" in environment
    assert b"secret" not in environment
    end_service(service)
    end_service(service)
    assert not service.is_alive


def test_a_service_that_ends_at_once_has_had_a_name(tmp_path: Path) -> None:
    service = start_service(["/bin/true"], log=tmp_path / "service.log")
    wait_until(lambda: not service.is_alive)
    service.signal(signal.SIGKILL)
    service.signal_group(signal.SIGKILL)


def test_a_service_that_does_not_listen_is_killed(tmp_path: Path) -> None:
    service = start_service([sys.executable, "-c", DEAF], log=tmp_path / "service.log")
    wait_until(lambda: "up" in (tmp_path / "service.log").read_text())
    end_service(service, patience_s=0.1)
    assert not service.is_alive
