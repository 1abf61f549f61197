"""``fedward doctor``, in good and in bad weather."""

import json
import shutil
import socket
import ssl
import sys
import threading
from collections import namedtuple
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import distribution
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from typer.testing import CliRunner

from fedward_cli.checkup import machine, network
from fedward_cli.checkup.network import examine_way
from fedward_cli.main import app
from fedward_client.agent.approvals import Approvals
from fedward_client.agent.home import AgentHome
from fedward_client.agent.key import SiteKey
from fedward_client.agent.membership import Enrolled, write_enrolled
from fedward_core import __version__
from fedward_core.fleet_messages import Membership
from fedward_server.flower.bundle import build_bundle

Usage = namedtuple("Usage", "total used free")


class Weather:
    """A coordinator that answers its health, with a version, and a clock or a date of one's choice."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.version, self.ahead_s, self.date = __version__, 0.0, ""
        weather = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                content = json.dumps({"status": "ok", "version": weather.version}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def date_time_string(self, timestamp: float | None = None) -> str:
                return weather.date or formatdate(datetime.now(UTC).timestamp() - weather.ahead_s, usegmt=True)

            def log_request(self, code: int | str = "-", size: int | str = "-") -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if context is not None:
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        scheme = "http" if context is None else "https"
        self.url = f"{scheme}://127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    def end(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def weather() -> Iterator[Weather]:
    weather = Weather()
    yield weather
    weather.end()


@pytest.fixture
def home(tmp_path: Path, weather: Weather) -> AgentHome:
    """The home of a site at which all is well."""
    home = AgentHome(tmp_path / "agent")
    home.make()
    key = SiteKey.make(home.key)
    membership = Membership(site="north", key="fw_secret", fleet=":1", node_authentication=False)
    write_enrolled(home, Enrolled(url=weather.url, membership=membership))
    home.policy.write_text(f"datasets: {{chest: {{path: {tmp_path}}}}}\n")
    Approvals(home.approvals, key).approve(build_bundle().digest, simulated=False)
    return home


@pytest.fixture
def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def doctor(*arguments: object, **environment: str) -> tuple[int, dict[str, dict[str, str]]]:
    """The exit code and the findings by what they are about."""
    command = ["doctor", "--json", *map(str, arguments)]
    result = CliRunner().invoke(app, command, env={"FEDWARD_URL": "", "FEDWARD_CA": "", **environment})
    return result.exit_code, {finding["about"]: finding for finding in json.loads(result.stdout)}


def test_in_good_weather_nothing_is_at_fault(home: AgentHome, free_port: int) -> None:
    code, found = doctor("--site", home.path, "--port", free_port)
    assert code == 0
    assert "fault" not in {finding["state"] for finding in found.values()}
    for about in ("Python", "Fedward", "disk", "GPU", "enrolment", "app bundle", "policy", "dataset chest", "clock"):
        assert about in found
    assert "fw_secret" not in str(found)


def test_the_table_says_the_same(home: AgentHome, free_port: int) -> None:
    result = CliRunner().invoke(app, ["doctor", "--site", str(home.path), "--port", str(free_port)])
    assert result.exit_code == 0
    assert "this is site 'north'" in result.stdout


def spoil_policy(home: AgentHome) -> None:
    home.policy.write_text("max_rounds: [")


def lose_dataset(home: AgentHome) -> None:
    home.policy.write_text("datasets: {chest: {path: /nowhere}}")


def hide_dataset(home: AgentHome) -> None:
    home.policy.write_text(f"datasets: {{chest: {{path: /{'x' * 300}}}}}")  # no name is so long: it cannot be asked for


def offer_nothing(home: AgentHome) -> None:
    home.policy.write_text("labels: true")


def withdraw_approval(home: AgentHome) -> None:
    home.approvals.unlink()


def show_key_to_others(home: AgentHome) -> None:
    home.key.chmod(0o644)


def leave(home: AgentHome) -> None:
    home.membership.unlink()


@pytest.mark.parametrize(
    ("spoil", "about", "words"),
    [
        (spoil_policy, "policy", "site.yaml cannot be read"),
        (lose_dataset, "dataset chest", "there is nothing at"),
        (hide_dataset, "dataset chest", "cannot be looked at"),
        (offer_nothing, "datasets", "offers none"),
        (withdraw_approval, "app bundle", "fedward agent approve --release"),
        (show_key_to_others, "enrolment", "others can read"),
        (leave, "enrolment", "is not enrolled"),
    ],
)
def test_what_would_stop_a_run_at_the_site_is_a_fault_that_says_what_to_do(
    spoil: Any, about: str, words: str, home: AgentHome
) -> None:
    spoil(home)
    code, found = doctor("--site", home.path)
    assert code == 1
    assert found[about]["state"] == "fault"
    assert words in found[about]["words"]


def test_a_simulated_approval_is_a_fault_where_tls_is_on(home: AgentHome) -> None:
    home.approvals.unlink()
    Approvals(home.approvals, SiteKey.read(home.key)).approve(build_bundle().digest, simulated=True)
    assert doctor("--site", home.path)[1]["app bundle"]["state"] == "well"
    home.membership.write_text(home.membership.read_text().replace("http://", "https://"))
    assert "no force where TLS is on" in doctor("--site", home.path)[1]["app bundle"]["words"]


@pytest.mark.parametrize(
    ("ahead_s", "state"), [(0, "well"), (4, "warning"), (60, "fault"), (-60, "warning"), (-900, "fault")]
)
def test_the_clock_is_compared_with_the_coordinators(ahead_s: float, state: str, weather: Weather) -> None:
    weather.ahead_s = ahead_s
    assert doctor(FEDWARD_URL=weather.url)[1]["clock"]["state"] == state


def test_every_extra_that_a_command_may_lack_is_looked_for() -> None:
    declared = distribution("fedward").metadata.get_all("Provides-Extra") or []
    named = {extra for extras in machine.PARTS.values() for extra in extras.split(" and ")}
    assert named == set(declared) - {"distributed", "bench", "dev"}


@pytest.mark.parametrize(("took_s", "state"), [(0, "fault"), (30, "well")])
def test_an_answer_that_takes_long_is_no_clock_that_is_off(took_s: float, state: str) -> None:
    answer = httpx.Response(200, headers={"Date": formatdate(datetime.now(UTC).timestamp() - 20, usegmt=True)})
    answer.elapsed = timedelta(seconds=took_s)
    assert network._clock(answer).state == state


def test_a_date_that_cannot_be_read_leaves_the_clock_uncompared(weather: Weather) -> None:
    weather.date = "soon"
    clock = doctor(FEDWARD_URL=weather.url)[1]["clock"]
    assert (clock["state"], "cannot be compared" in clock["words"]) == ("warning", True)


def test_a_coordinator_of_another_release_or_none_is_a_fault(weather: Weather, free_port: int) -> None:
    weather.version = "0.0.1"
    code, found = doctor(FEDWARD_URL=weather.url)
    assert (code, found["coordinator's version"]["state"]) == (1, "fault")
    code, found = doctor(FEDWARD_URL=f"http://127.0.0.1:{free_port}")
    assert (code, found["coordinator"]["state"]) == (1, "fault")


@pytest.mark.parametrize("url", ["https://host:port", "http://[::1", "https://127.0.0.1:99999"])
def test_an_address_that_is_none_is_a_fault(url: str) -> None:
    code, found = doctor(FEDWARD_URL=url)
    assert (code, found["coordinator"]["state"]) == (1, "fault")
    assert "its address is none" in found["coordinator"]["words"]


def test_a_name_that_no_machine_can_have_is_a_fault() -> None:
    findings = {finding.about: finding for finding in examine_way(f"https://{'x' * 70}.example", None)}
    assert findings["TLS certificate"].state == "fault"


def test_a_full_disk_is_a_fault_and_a_port_in_use_a_warning(weather: Weather, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**12, 10**12, 10**8))
    port = weather.url.rpartition(":")[2]
    code, found = doctor("--port", port)
    assert code == 1
    assert found["disk"]["state"] == "fault"
    assert found[f"port {port}"]["state"] == "warning"


def test_an_old_python_is_a_fault_and_a_part_that_is_not_installed_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "OLDEST_PYTHON", (sys.version_info[0], sys.version_info[1] + 1))
    monkeypatch.setattr(machine, "PARTS", {"no-such-package": "server"})
    code, found = doctor()
    assert code == 1
    assert found["Python"]["state"] == "fault"
    assert found["no-such-package"]["state"] == "warning"


def test_a_database_is_none_yet_or_answers_or_is_none_of_ours(tmp_path: Path) -> None:
    assert "none yet" in doctor("--server", tmp_path)[1]["database"]["words"]
    (tmp_path / "coordinator.db").write_text("no database")
    code, found = doctor("--server", tmp_path)
    assert (code, found["database"]["state"]) == (1, "fault")
    code, found = doctor("--database", "mysql://root:secret@host/name")
    assert (code, found["database"]["state"]) == (1, "fault")
    assert "secret" not in found["database"]["words"]


@pytest.mark.parametrize(("days", "state"), [(300, "well"), (10, "warning"), (-1, "fault")])
def test_the_tls_certificate_is_looked_at(days: int, state: str, tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate(tmp_path, days))
    weather = Weather(context)
    try:
        found = {finding.about: finding for finding in examine_way(weather.url, tmp_path / "tls.pem")}
    finally:
        weather.end()
    assert found["TLS certificate"].state == state
    assert ("does not answer" in found["coordinator"].words) == (state == "fault")


def test_an_authority_that_cannot_be_read_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "wrong.pem").write_text("no certificate")
    findings = list(examine_way("https://127.0.0.1:1", tmp_path / "wrong.pem"))
    assert [finding.about for finding in findings] == ["certificate authority"]


def certificate(folder: Path, days: int) -> Path:
    """A certificate of this machine's, signed by itself, with its key, that expires in some days."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=2))
        .not_valid_after(now + timedelta(days=days, hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, SHA256())
    )
    path = folder / "tls.pem"
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(made.public_bytes(Encoding.PEM) + private)
    return path
