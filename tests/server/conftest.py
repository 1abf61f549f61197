"""Sites without machines: what a scripted site answers is a plain function."""

import asyncio
import datetime
import ipaddress
import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from sqlalchemy import URL

from fedward_core.cards import Contract, DatasetCard
from fedward_core.engine import Job
from fedward_core.events import Event, EventKind
from fedward_core.manifest import Manifest
from fedward_core.metric import Metric
from fedward_core.order import Reply, Work
from fedward_core.partition import Role, Rule
from fedward_core.plan import StagePlan
from fedward_core.spec import Spec
from fedward_core.update import SHARED
from fedward_server.database.address import read_address
from fedward_server.rounds.exchange import Answer, Errand
from fedward_server.rounds.planning import Planned, Planner, PlanRequest
from fedward_server.rounds.run import Run
from fedward_server.tls import TLSFiles

Script = Callable[[str, Errand], list[Answer]]


def honest(site: str, errand: Errand) -> list[Answer]:
    """Adds to every weight the length of its name and the round; the site's weight is its name's length."""
    order = errand.order
    heading = {"site": site, "work": order.work, "round": order.round, "parent": order.parent}
    if order.work is Work.DESCRIBE:
        card = DatasetCard(
            site=site, dataset="toy", contract=Contract(classes=("a", "b")), num_images={}, num_patients={}, digest="d"
        )
        return [Answer(site=site, reply=Reply(**heading, card=card))]
    if order.work is Work.EVALUATE:
        return [Answer(site=site, reply=Reply(**heading, evaluation={"accuracy": Metric(value=0.5, n=4)}))]
    step = np.float32(len(site) + order.round)
    trained = {name: array + step for name, array in errand.arrays.items()}
    reply = Reply(**heading, num_examples=len(site), num_steps=1, metrics={"loss": float(step)})
    return [Answer(site=site, reply=reply, groups={SHARED: trained})]


@dataclass
class ScriptedExchange:
    """Delivers nothing: each site's script answers at once, in reverse order of the sites."""

    scripts: Mapping[str, Script]
    errands: list[tuple[str, Errand]] = field(default_factory=list)
    _answers: list[Answer] = field(default_factory=list)

    def send(self, errands: Mapping[str, Errand]) -> None:
        for site, errand in errands.items():
            self.errands.append((site, errand))
            self._answers = self.scripts[site](site, errand) + self._answers

    def receive(self, timeout_s: float) -> Iterator[Answer]:
        while self._answers:
            yield self._answers.pop(0)


def plan_toy(request: PlanRequest) -> Planned:
    previous = request.previous
    weights = dict(previous) if previous is not None else {"w": np.zeros(3, np.float32), "b": np.ones(2, np.float32)}
    rules = (Rule(pattern=".*", role=Role.SHARED),)
    return Planned(
        plan=StagePlan(manifest=Manifest.of(weights), rules=rules, contract=request.contract), weights=weights
    )


@dataclass
class Outcome:
    """What a scripted run left behind."""

    events: list[Event]
    exchange: ScriptedExchange
    out: Path

    def of(self, kind: EventKind) -> list[Event]:
        return [event for event in self.events if event.kind is kind]


@dataclass
class PretendedKeeper:
    """Keeps no SuperLink, and notes what was asked of it."""

    address: str = "127.0.0.1:9"
    keys: Path = Path("/nowhere")
    registered: dict[str, bytes] = field(default_factory=dict)
    forgotten: list[str] = field(default_factory=list)
    faults: list[Exception] = field(default_factory=list)
    ended: int = 0

    def ensure(self) -> str:
        if self.faults:
            raise self.faults.pop()
        return self.address

    def register(self, site: str, public_key_pem: bytes) -> str:
        assert site not in self.registered
        self.registered[site] = public_key_pem
        return str(2**64 - 1)

    def sites(self) -> frozenset[str]:
        return frozenset(self.registered)

    def forget(self, site: str) -> None:
        self.forgotten.append(site)
        self.registered.pop(site, None)

    def end(self) -> None:
        self.ended += 1


RunScripts = Callable[..., Outcome]


@pytest.fixture
def honest_site() -> Script:
    return honest


@pytest.fixture
def run_scripts(tmp_path: Path) -> RunScripts:
    """Run a rehearsal-like spec over scripted sites."""

    def run(
        scripts: Mapping[str, Script],
        *,
        rounds: int = 3,
        min_sites: int = 1,
        sites_per_round: int | None = None,
        hold_out: tuple[str, ...] = (),
        evaluate: dict[str, Any] | None = None,
        planner: Planner = plan_toy,
        then: tuple[dict[str, Any], ...] = (),
        **stage: object,
    ) -> Outcome:
        spec = Spec.parse(
            {
                "name": "toy",
                "dataset": {"name": "toy"},
                "cohort": {
                    "min_sites": min_sites,
                    "sites_per_round": sites_per_round,
                    "hold_out": hold_out,
                    "round_deadline_s": 1,
                },
                "evaluate": {"every": 100, **(evaluate or {})},
                "stages": [{"name": "only", "method": "rehearsal", "rounds": rounds, **stage}, *then],
            }
        )
        exchange = ScriptedExchange(scripts)
        events: list[Event] = []
        job = Job(spec=spec, run="run-1", sites=tuple(sorted(scripts)), data=tmp_path, out=tmp_path / "out")
        outcome = Outcome(events, exchange, job.out)
        try:
            Run(job, exchange, planner, events.append).run()
        except Exception as error:
            error.outcome = outcome  # type: ignore[attr-defined]
            raise
        return outcome

    return run


@pytest.fixture
def keeper() -> PretendedKeeper:
    return PretendedKeeper()


@pytest.fixture(scope="session")
def tls_files(tmp_path_factory: pytest.TempPathFactory) -> TLSFiles:
    """A certificate for this machine's loopback, which is its own authority."""
    folder = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "fedward test")])
    now = datetime.datetime.now(datetime.UTC)
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("localhost")])
    builder = x509.CertificateBuilder(issuer_name=name, subject_name=name, public_key=key.public_key(), serial_number=1)
    builder = builder.not_valid_before(now - datetime.timedelta(days=1))
    builder = builder.not_valid_after(now + datetime.timedelta(days=1))
    builder = builder.add_extension(names, critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    certificate = builder.sign(key, hashes.SHA256())
    files = TLSFiles(certificate=folder / "cert.pem", key=folder / "key.pem", authority=folder / "cert.pem")
    files.certificate.write_bytes(certificate.public_bytes(Encoding.PEM))
    files.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return files


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path | URL]:
    """An empty database of each kind: the same suite holds for both."""
    if request.param == "sqlite":
        yield tmp_path / "coordinator.db"
        return
    address = os.environ.get("FEDWARD_TEST_POSTGRES")
    if not address:
        pytest.skip(
            "FEDWARD_TEST_POSTGRES names no PostgreSQL server, such as postgresql://user@127.0.0.1:5432/postgres"
        )
    server, name = read_address(address), f"fedward_test_{secrets.token_hex(8)}"
    asyncio.run(execute(server, f"CREATE DATABASE {name}"))
    yield server.set(database=name)
    asyncio.run(execute(server, f"DROP DATABASE {name} WITH (FORCE)"))


async def execute(server: URL, statement: str) -> None:
    """Something that PostgreSQL does outside any transaction."""
    connection = await asyncpg.connect(server.set(drivername="postgresql").render_as_string(hide_password=False))
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
