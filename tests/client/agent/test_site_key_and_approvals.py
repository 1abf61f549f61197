"""What proves that a site is itself, and what its steward approved."""

import json
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from fedward_client.agent.approvals import Approvals
from fedward_client.agent.errors import AgentError, PolicyError
from fedward_client.agent.key import SiteKey
from fedward_core.atomic import write_secret

APP, OTHER = "a" * 64, "b" * 64


@pytest.fixture
def key(tmp_path: Path) -> SiteKey:
    return SiteKey.make(tmp_path / "key.pem")


def test_a_key_is_readable_by_its_owner_only_and_comes_back_as_it_was(tmp_path: Path, key: SiteKey) -> None:
    assert stat.S_IMODE((tmp_path / "key.pem").stat().st_mode) == 0o600
    again = SiteKey.read(tmp_path / "key.pem")
    assert again.public_pem == key.public_pem
    assert key.has_signed(b"words", again.sign(b"words"))
    assert not key.has_signed(b"other words", again.sign(b"words"))
    assert "PRIVATE" not in key.public_pem


def test_a_key_that_others_can_read_or_that_is_damaged_or_missing_is_refused(tmp_path: Path, key: SiteKey) -> None:
    path = tmp_path / "key.pem"
    path.chmod(0o640)
    with pytest.raises(AgentError, match="others can read"):
        SiteKey.read(path)
    path.chmod(0o600)
    path.write_text("no key")
    with pytest.raises(AgentError, match="damaged"):
        SiteKey.read(path)
    path.unlink()
    with pytest.raises(AgentError, match="enrol the site first"):
        SiteKey.read(path)


def test_a_key_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    other = Ed25519PrivateKey.generate()
    write_secret(path, other.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    with pytest.raises(AgentError, match="of another kind"):
        SiteKey.read(path)


def test_nothing_is_approved_until_a_steward_does_and_after_he_withdraws(tmp_path: Path, key: SiteKey) -> None:
    approvals = Approvals(tmp_path / "approvals.json", key)
    assert approvals.in_force(tls=True) == frozenset()
    approvals.approve(APP, simulated=False)
    approvals.approve(OTHER, simulated=False)
    approvals.approve(APP, simulated=False)
    assert approvals.in_force(tls=True) == {APP, OTHER}
    approvals.withdraw(OTHER)
    assert approvals.in_force(tls=True) == {APP}


def test_a_simulated_approval_has_no_force_where_tls_is_on(tmp_path: Path, key: SiteKey) -> None:
    approvals = Approvals(tmp_path / "approvals.json", key)
    approvals.approve(APP, simulated=True)
    assert approvals.in_force(tls=False) == {APP}
    assert approvals.in_force(tls=True) == frozenset()


def test_an_approval_that_was_changed_by_hand_or_comes_from_another_site_approves_nothing(
    tmp_path: Path, key: SiteKey
) -> None:
    path = tmp_path / "approvals.json"
    Approvals(path, key).approve(APP, simulated=True)
    stranger = SiteKey.make(tmp_path / "other.pem")
    with pytest.raises(PolicyError, match="not signed by this site's key"):
        Approvals(path, stranger).in_force(tls=False)
    values = json.loads(path.read_text())
    path.write_text(json.dumps([{**values[0], "simulated": False}]))
    with pytest.raises(PolicyError, match="not signed"):
        Approvals(path, key).in_force(tls=True)
    path.write_text("[{}]")
    with pytest.raises(PolicyError, match="cannot be read"):
        Approvals(path, key).in_force(tls=True)
