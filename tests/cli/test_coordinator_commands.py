"""``fedward server`` and ``fedward run``, against each other on this machine."""

import json
import re
import signal
import socket
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from fedward_cli.main import app

SPEC = """
name: drill
dataset: {name: none}
stages:
  - {name: only, method: rehearsal, rounds: 3}
"""


@dataclass
class Network:
    """A coordinator that ``fedward server`` started, and the commands that speak to it."""

    home: Path
    url: str
    key: str

    def call(self, *arguments: object) -> Any:
        environment = {"FEDWARD_URL": self.url, "FEDWARD_KEY": self.key}
        return CliRunner().invoke(app, [str(argument) for argument in arguments], env=environment)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    home = tmp_path_factory.mktemp("coordinator") / "home"
    process = subprocess.Popen(
        [sys.executable, "-c", "from fedward_cli.main import app; app()", "server", "--port", "0", "--home", str(home)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    address = re.search(r"http://\S+:\d+", process.stderr.readline())
    assert address, process.stderr.read()
    network = Network(home, address[0], process.stdout.readline().strip())
    study = {"name": "drill", "sites": ["hill", "north", "river"]}
    headers = {"Authorization": f"Bearer {network.key}"}
    assert httpx.post(f"{network.url}/api/v1/studies", json=study, headers=headers).status_code == 201
    yield network
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 130, process.stderr.read()
    process.stdout.close()
    process.stderr.close()


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    path = tmp_path / "drill.yaml"
    path.write_text(SPEC)
    return path


def test_a_run_is_submitted_watched_shown_and_downloaded(network: Network, spec: Path, tmp_path: Path) -> None:
    submitted = network.call("run", "submit", spec, "--study", "drill", "--id", "drill-1")
    assert (submitted.exit_code, submitted.stdout) == (0, "drill-1\n")
    again = network.call("run", "submit", spec, "--study", "drill", "--id", "drill-1", "--json")
    assert json.loads(again.stdout)["id"] == "drill-1"

    watched = network.call("run", "watch", "drill-1")
    assert watched.exit_code == 0, watched.output
    assert "only: round 3 of 3" in watched.stderr
    assert "is completed" in watched.stderr

    assert "completed" in network.call("run", "list").stdout
    assert json.loads(network.call("run", "list", "--json").stdout)[0]["id"] == "drill-1"
    assert "hill, north, river" in network.call("run", "show", "drill-1").stdout
    assert json.loads(network.call("run", "show", "drill-1", "--json").stdout)["spec"]["name"] == "drill"
    assert network.call("run", "stop", "drill-1").stdout == "drill-1 is completed\n"

    path = tmp_path / "all.zip"
    assert network.call("run", "download", "drill-1", "--out", path).exit_code == 0
    assert "stages/only/final.safetensors" in zipfile.ZipFile(path).namelist()


def test_a_run_that_is_stopped_ends_the_watch_with_its_reason(network: Network, spec: Path) -> None:
    spec.write_text(SPEC.replace("rounds: 3", "rounds: 100000"))
    network.call("run", "submit", spec, "--study", "drill", "--id", "long")
    assert "long is" in network.call("run", "stop", "long").stdout
    watched = network.call("run", "watch", "long")
    assert watched.exit_code == 1
    assert "cancelled: stopped" in watched.stderr


def test_a_run_that_does_not_exist_is_said_to_be_none(network: Network, tmp_path: Path) -> None:
    for command in ("show", "watch", "stop", "download"):
        result = network.call("run", command, "nothing")
        assert result.exit_code == 1
        assert "there is no run 'nothing'" in result.stderr
    assert not Path("nothing.zip").exists()


def test_a_study_that_does_not_exist_and_a_wrong_key_are_refused(network: Network, spec: Path) -> None:
    assert "there is no study 'none'" in network.call("run", "submit", spec, "--study", "none").stderr
    stranger = Network(network.home, network.url, "fw_wrong")
    assert "not known here" in stranger.call("run", "list").stderr


def test_without_a_coordinator_or_a_key_the_commands_say_so(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    nobody = Network(tmp_path, f"http://127.0.0.1:{port}", "fw_key").call("run", "list")
    assert nobody.exit_code == 1
    assert "no coordinator answers" in nobody.stderr
    assert "FEDWARD_KEY is not set" in Network(tmp_path, "http://127.0.0.1:1", "").call("run", "list").stderr


def test_a_port_in_use_and_a_home_in_use_are_refused(network: Network, tmp_path: Path) -> None:
    port = network.url.rpartition(":")[2]
    result = network.call("server", "--port", port, "--home", tmp_path / "other")
    assert result.exit_code == 1
    assert "choose another --port" in result.stderr
    result = network.call("server", "--port", 0, "--home", network.home)
    assert result.exit_code == 1
    assert "another coordinator uses this home" in result.stderr
