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
from waiting import wait_until

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

    shown = network.call("run", "results", "drill-1")
    assert shown.exit_code == 0, shown.output
    assert shown.stdout == watched.stdout
    for cell in ("drill-1: test split", "hill", "north", "river", "mean of sites"):
        assert cell in shown.stdout
    told = json.loads(network.call("run", "results", "drill-1", "--json").stdout)
    assert set(told["sites"]) == set(told["bytes_sent"]) == {"hill", "north", "river"}

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
    for command in ("show", "watch", "results", "stop", "download"):
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


def test_keys_are_made_listed_and_revoked(network: Network) -> None:
    made = network.call("key", "create", "anna", "--role", "reader")
    assert made.stdout.startswith("fw_")
    assert "anna" in network.call("key", "list").stdout
    assert {"anna", "admin"} <= {key["name"] for key in json.loads(network.call("key", "list", "--json").stdout)}
    reader = Network(network.home, network.url, made.stdout.strip())
    assert reader.call("study", "list").exit_code == 0
    assert reader.call("site", "invite", "hill").exit_code == 1
    assert network.call("key", "revoke", "anna").stdout == "anna is revoked\n"
    assert "not known here" in reader.call("study", "list").stderr


def test_studies_are_made_and_listed(network: Network) -> None:
    made = network.call("study", "create", "practice", "--site", "north", "--site", "hill", "--drill")
    assert made.stdout == "practice\n", made.stderr
    assert "practice" in network.call("study", "list").stdout
    both = network.call("study", "create", "both", "--site", "north", "--data", "/srv/hospitals", "--drill")
    assert both.exit_code == 2
    strangers = network.call("study", "create", "chest", "--site", "stranger")
    assert "not enrolled" in strangers.stderr


@pytest.mark.parametrize(
    "command",
    [
        ("site", "invite", "far", "--hours"),
        ("server", "--port", "0", "--home", "/dev/null/none", "--heartbeat"),
        ("data", "split", "none", "--site", "far", "--out", "/dev/null/none", "--alpha"),
    ],
)
@pytest.mark.parametrize("number", ["nan", "inf"])
def test_a_number_that_is_none_is_a_usage_error(command: tuple[str, ...], number: str) -> None:
    environment = {"FEDWARD_URL": "http://127.0.0.1:9", "FEDWARD_KEY": "fw_secret"}
    result = CliRunner().invoke(app, [*command, number], env=environment)
    assert result.exit_code == 2
    assert f"expected a number, found '{number}'" in " ".join(result.stderr.split())


def test_a_site_is_invited_enrols_approves_and_is_revoked(network: Network, tmp_path: Path) -> None:
    home = tmp_path / "agent"
    invited = network.call("site", "invite", "far")
    token = invited.stdout.strip()
    assert "can enrol as 'far'" in invited.stderr
    enrolled = network.call("agent", "enrol", "--coordinator", network.url, "--token", token, "--home", home)
    assert enrolled.exit_code == 0, enrolled.stderr
    assert "agent approve --release" in enrolled.stderr
    again = network.call("agent", "enrol", "--coordinator", network.url, "--token", token, "--home", tmp_path / "other")
    assert "used already" in again.stderr
    foreign = network.call("agent", "enrol", "--coordinator", network.url, "--token", "fi_x", "--home", tmp_path / "o")
    assert "no such token" in foreign.stderr

    assert network.call("agent", "approve", "--home", home).exit_code == 2
    approved = network.call("agent", "approve", "--release", "--home", home)
    status = json.loads(network.call("agent", "status", "--home", home, "--json").stdout)
    assert (status["site"], status["agent"]) == ("far", "does not run")
    assert status["approved"] == [approved.stdout.split()[0]]
    withdrawn = network.call("agent", "approve", approved.stdout.split()[0], "--withdraw", "--home", home)
    assert "no longer" in withdrawn.stdout
    assert "does not run" in network.call("agent", "status", "--home", home).stdout

    assert "far" in network.call("site", "list").stdout
    assert json.loads(network.call("site", "list", "--json").stdout)[0]["name"] == "far"
    assert network.call("site", "revoke", "far").stdout == "far is revoked\n"
    assert json.loads(network.call("site", "list", "--json").stdout) == []


def test_a_run_is_paused_and_resumed(network: Network, spec: Path) -> None:
    spec.write_text(SPEC.replace("rounds: 3", "rounds: 100000"))
    network.call("run", "submit", spec, "--study", "drill", "--id", "rests")
    assert "rests is paus" in network.call("run", "pause", "rests").stdout
    wait_until(lambda: "rests is submitted" in network.call("run", "resume", "rests").stdout)
    network.call("run", "stop", "rests")


def test_half_of_the_files_for_tls_is_refused(network: Network, tmp_path: Path) -> None:
    result = network.call("server", "--home", tmp_path, "--tls-cert", tmp_path / "a.pem")
    assert result.exit_code == 2


@pytest.mark.parametrize(("host", "told"), [("127.0.0.1", False), ("0.0.0.0", True)])
def test_plain_http_beyond_this_machine_is_told(
    host: str, told: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fedward_server.api.serving.serve", lambda *_, **__: None)
    result = CliRunner().invoke(app, ["server", "--host", host, "--port", "0", "--home", str(tmp_path / "home")])
    assert (result.exit_code, "plain HTTP" in result.stderr) == (0, told)
