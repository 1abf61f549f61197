"""Sites are told of the packages of which a run's spec names parts, as they are at the coordinator."""

import pytest

from fedward_core.fleet_messages import Proposal
from fedward_core.packages import Package
from fedward_server.runs.rows import RunRow
from fedward_server.sites import board

PACKAGE = Package(name="own-method", version="1.0", sha256="0" * 64)


def test_a_proposal_tells_the_packages_of_its_spec(monkeypatch: pytest.MonkeyPatch) -> None:
    named = {"focal": (PACKAGE,)}
    monkeypatch.setattr(board, "packages_named", lambda spec: named.get(spec["method"], ()))
    assert proposal("focal").packages == (PACKAGE,)
    assert proposal("supervised").packages == ()


def proposal(method: str) -> Proposal:
    run = RunRow(id="r", study="s", spec={"method": method}, spec_digest="d", app="a" * 64, recruits_until_s=1.0)
    return board._proposal(run)
