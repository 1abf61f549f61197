"""A run over TLS: nodes prove who they are, and sites are found by the names of their keys."""

import ipaddress
import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import NameOID

from fedward_core.arrays import digest, read_arrays
from fedward_core.engine import Job
from fedward_core.processes.launching import end_child, start_child
from fedward_core.spec import Spec
from fedward_server.engines.deployment import DeploymentEngine
from fedward_server.engines.inline import InlineEngine
from fedward_server.flower.bundle import build_bundle
from fedward_server.flower.connection import Connection
from fedward_server.flower.control import FlowerControl
from fedward_server.flower.superlink_keeper import SuperLinkKeeper
from fedward_server.tls import TLSFiles

SITES = ("north", "south")
AGENT = """
import json, signal, sys, threading
from pathlib import Path
from fedward_client.agent.node import Link
from fedward_client.agent.site_agent import SiteAgent
from fedward_client.flower.app_settings import AppSettings

values = json.loads(sys.argv[1])
home = Path(values["home"])
link = Link(superlink=values["superlink"], tls=True, authority=values["authority"], key=home / "key.pem")

class OneApp:
    def approves(self, app):
        return app == values["app"]

stop = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stop.set())
settings = AppSettings(site=values["site"], data=home, private=home / "private")
with SiteAgent(settings, link=link, home=home, approvals=OneApp()) as agent:
    agent.run(stop)
"""


def pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())


@pytest.fixture
def tls(tmp_path: Path) -> TLSFiles:
    """A certificate for 127.0.0.1, signed by an authority of its own."""
    authority, own = ec.generate_private_key(ec.SECP384R1()), ec.generate_private_key(ec.SECP384R1())
    root = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority")])
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "coordinator")])
    now = datetime.now(UTC)

    def certificate(subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(root).public_key(key.public_key())
        return (
            builder.serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
        )

    addresses = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    signed = certificate(root, authority).add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    files = TLSFiles(certificate=tmp_path / "own.pem", key=tmp_path / "key.pem", authority=tmp_path / "authority.pem")
    files.authority.write_bytes(signed.sign(authority, hashes.SHA256()).public_bytes(Encoding.PEM))
    own_signed = certificate(name, own).add_extension(addresses, critical=False).sign(authority, hashes.SHA256())
    files.certificate.write_bytes(own_signed.public_bytes(Encoding.PEM))
    files.key.write_bytes(own.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return files


@pytest.fixture
def keeper(tls: TLSFiles, tmp_path: Path) -> Iterator[SuperLinkKeeper]:
    made = SuperLinkKeeper(tmp_path / "superlink", tls=tls)
    yield made
    made.end()


@pytest.mark.slow
def test_a_run_over_tls_finds_its_sites_by_the_names_of_their_keys(keeper: SuperLinkKeeper, tmp_path: Path) -> None:
    stage = {"name": "only", "method": "rehearsal", "rounds": 2}
    cohort = {"min_sites": 2, "round_deadline_s": 300}
    spec = Spec.parse({"name": "drill", "seed": 7, "dataset": {"name": "none"}, "cohort": cohort, "stages": [stage]})
    address = keeper.ensure()
    with ExitStack() as stack:
        for site in SITES:
            start_agent(stack, site, address, keeper, tmp_path / site)
        out = tmp_path / "deployed"
        deployed = Job(
            spec=spec, run="drill", sites=SITES, data=tmp_path, out=out, superlink=address, superlink_keys=keeper.keys
        )
        DeploymentEngine().run(deployed, lambda event: None)
        with FlowerControl(Connection(address=address, keys=keeper.keys)) as control:
            assert {node.name for node in control.nodes() if node.online} == set(SITES)
    alone = Job(spec=spec, run="drill", sites=SITES, data=tmp_path, out=tmp_path / "alone")
    InlineEngine().run(alone, lambda event: None)
    ours, theirs = (read_arrays(job.out / "stages/only/final.safetensors")[0] for job in (deployed, alone))
    assert digest(ours) == digest(theirs)


def start_agent(stack: ExitStack, site: str, address: str, keeper: SuperLinkKeeper, home: Path) -> None:
    home.mkdir()
    key = ec.generate_private_key(ec.SECP384R1())
    (home / "key.pem").write_bytes(pem(key))
    keeper.register(site, key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    values = {"site": site, "superlink": address, "home": str(home), "app": build_bundle().digest}
    values["authority"] = str(keeper.keys / "authority.pem")
    child = start_child([sys.executable, "-c", AGENT, json.dumps(values)], log=home / "agent.log")
    stack.callback(end_child, child, patience_s=30.0)


def test_a_superlink_with_tls_is_healthy_for_whoever_trusts_its_authority_only(keeper: SuperLinkKeeper) -> None:
    address = keeper.ensure()
    with FlowerControl(Connection(address=address, keys=keeper.keys)) as control:
        assert control.nodes() == ()
    assert not Connection(address=address).healthy()
