"""Code of other packages runs at a site only as its steward approved it, and only while it stays that code."""

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fedward_cli.main import app
from fedward_client.agent.approvals import Approvals
from fedward_client.agent.consents import Consents
from fedward_client.agent.home import AgentHome
from fedward_client.agent.key import SiteKey
from fedward_client.agent.policy import Offer, SitePolicy
from fedward_client.agent.rules import Terms, refusal
from fedward_core.fleet_messages import Proposal
from fedward_core.packages import Package, installed_packages

APP = "a" * 64
POLICY = SitePolicy(datasets={"simulated": Offer(path=Path("/srv/images"))})
Propose = Callable[..., Proposal]


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The code of an installed package that offers the word ``simulated``, which the runs' dataset bears too."""
    info = tmp_path / "site" / "own_method-1.0.dist-info"
    code = tmp_path / "site" / "own_method"
    for folder in (info, code):
        folder.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: own-method\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[fedward.methods]\nsimulated = own_method.config:Config\n")
    (code / "config.py").write_text("exit()")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    return code


def package() -> Package:
    (found,) = installed_packages()
    return found


def reason(proposal: Proposal, *approved: str) -> str:
    return refusal(proposal, Terms(policy=POLICY, approved=frozenset({APP, *approved})), free_disk_bytes=1e12)


def proposal_with(propose: Propose, *packages: Package) -> Proposal:
    return propose().model_copy(update={"packages": packages})


def test_a_package_that_nobody_approved_is_refused_with_its_digest(module: Path, propose: Propose) -> None:
    found = reason(proposal_with(propose, package()))
    assert "has not approved the package own-method 1.0" in found
    assert package().sha256 in found


def test_an_approved_package_runs_until_a_byte_of_it_changes(module: Path, propose: Propose) -> None:
    proposal, approved = proposal_with(propose, package()), package().sha256
    assert reason(proposal, approved) == ""
    (module / "config.py").write_text("exit(1)")
    assert "has not approved the package" in reason(proposal, approved)
    assert "has another package own-method than the site" in reason(proposal, approved, package().sha256)


def test_a_coordinator_that_tells_of_no_package_is_refused(module: Path, propose: Propose) -> None:
    assert "or none" in reason(propose(), package().sha256)


def test_a_package_that_the_site_lacks_is_named(propose: Propose) -> None:
    elsewhere = Package(name="own-method", version="1.0", sha256="0" * 64)
    assert "needs the package own-method" in reason(proposal_with(propose, elsewhere), elsewhere.sha256)


def test_a_consent_ends_where_the_code_changes(module: Path, propose: Propose, tmp_path: Path) -> None:
    consents, proposal = Consents(tmp_path / "consents"), proposal_with(propose, package())
    assert not consents.covers_packages("drill-1", proposal.spec)
    consents.give(proposal)
    assert consents.covers_packages("drill-1", proposal.spec)
    (module / "config.py").write_text("exit(1)")
    assert not consents.covers_packages("drill-1", proposal.spec)


def test_a_consent_covers_no_package_that_only_the_spec_which_came_names(
    module: Path, propose: Propose, tmp_path: Path
) -> None:
    consents, proposal = Consents(tmp_path / "consents"), propose()
    agreed = proposal.model_copy(update={"spec": {**proposal.spec, "dataset": {"name": "other"}}})
    consents.give(agreed)
    assert consents.covers_packages("drill-1", agreed.spec)
    assert not consents.covers_packages("drill-1", proposal.spec)


def test_a_steward_approves_what_is_installed_and_takes_it_back(module: Path, home: AgentHome) -> None:
    def approve(*arguments: str) -> int:
        return CliRunner().invoke(app, ["agent", "approve", *arguments, "--home", str(home.path)]).exit_code

    approvals = Approvals(home.approvals, SiteKey.read(home.key))
    assert approve("--package", "own-method") == 0
    assert approvals.in_force(tls=True) == {APP, package().sha256}
    assert approve("--package", "own-method", "--withdraw") == 0
    assert approvals.in_force(tls=True) == {APP}
    assert approve("--package", "own-methods") != 0
    assert approve("--package", "own-method", "--release") != 0
