"""The certificates that a network with TLS is made with."""

import ipaddress
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store

SCRIPT = Path(__file__).parents[2] / "deploy" / "compose" / "certificates.sh"
pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("certificates")
    make(made)
    return made


def make(folder: Path) -> None:
    subprocess.run(["sh", SCRIPT, folder, "coordinator"], check=True, capture_output=True)


def certificate(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


@pytest.mark.parametrize("name", [x509.DNSName("coordinator"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
def test_hospitals_and_the_superlink_can_trust_the_certificate(folder: Path, name: x509.GeneralName) -> None:
    assert isinstance(name, x509.DNSName | x509.IPAddress)
    trusted = PolicyBuilder().store(Store([certificate(folder / "authority.pem")]))
    trusted.build_server_verifier(name).verify(certificate(folder / "coordinator.pem"), [])


def test_only_its_user_can_read_the_key_and_the_authority_s_is_not_kept(folder: Path) -> None:
    assert stat.S_IMODE((folder / "coordinator.key").stat().st_mode) == 0o600
    assert sorted(path.name for path in folder.iterdir()) == ["authority.pem", "coordinator.key", "coordinator.pem"]


def test_certificates_that_are_there_are_kept(folder: Path) -> None:
    before = (folder / "coordinator.pem").read_bytes()
    make(folder)
    assert (folder / "coordinator.pem").read_bytes() == before
