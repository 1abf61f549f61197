"""Consents are held against what the site allows whenever that has changed, and only then."""

from collections.abc import Callable
from typing import Any

import pytest

from fedward_client.agent import reporter as module
from fedward_client.agent.catalogue import Catalogue
from fedward_client.agent.consents import Consents
from fedward_client.agent.coordinator import Coordinator
from fedward_client.agent.home import AgentHome
from fedward_client.agent.key import SiteKey
from fedward_client.agent.permissions import Permissions
from fedward_client.agent.reporter import Reporter
from fedward_client.agent.rules import refusal
from fedward_core.errors import SpecError
from fedward_core.fleet_messages import Proposal
from fedward_core.packages import Package

POLICY = "datasets: {{simulated: {{path: /none}}}}\nmax_rounds: {rounds}\n"


@pytest.fixture
def reporter(home: AgentHome, script: Any, monkeypatch: pytest.MonkeyPatch) -> Reporter:
    monkeypatch.setattr(Catalogue, "refresh", lambda *_: None)
    catalogue = Catalogue(home.catalogue, "north", log=home.path / "cards.log")
    permissions = Permissions(home, SiteKey.read(home.key), tls=False)
    return Reporter(home, Coordinator(script.url, key="fw_secret"), permissions, catalogue)


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The runs whose consents are reviewed, in order."""
    runs: list[str] = []

    def noted(proposal: Proposal, *given: Any, **named: Any) -> str:
        runs.append(proposal.run)
        return refusal(proposal, *given, **named)

    monkeypatch.setattr(module, "refusal", noted)
    return runs


def raising(error: Exception) -> Callable[[], object]:
    def function() -> object:
        raise error

    return function


def test_consents_are_judged_again_only_where_something_has_changed(
    home: AgentHome,
    reporter: Reporter,
    judged: list[str],
    propose: Callable[..., Proposal],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for run in ("first", "second"):
        Consents(home.consents).give(propose(run=run))
    package = Package(name="own-method", version="1.0", sha256="0" * 64)
    changes: tuple[Callable[[], object], ...] = (
        lambda: home.policy.write_text(POLICY.format(rounds=10)),
        lambda: home.policy.write_text(POLICY.format(rounds=9)),
        lambda: monkeypatch.setattr(module, "installed_packages", lambda: (package,)),
        lambda: monkeypatch.setattr(module, "installed_packages", raising(SpecError("its code is nowhere"))),
    )
    for change in changes:
        change()
        judged.clear()
        for _ in range(3):
            reporter.step()
        assert judged == ["first", "second"]


def test_a_consent_that_is_new_is_reviewed_with_the_next_report(
    home: AgentHome, reporter: Reporter, judged: list[str], propose: Callable[..., Proposal], script: Any
) -> None:
    home.policy.write_text(POLICY.format(rounds=10))
    reporter.step()
    script.answers["heartbeats"] = (200, {"interval_s": 5.0, "proposals": [propose().model_dump(mode="json")]})
    reporter.step()
    assert judged == []
    reporter.step()
    assert judged == ["drill-1"]


def test_a_review_that_was_cut_off_is_made_again(
    home: AgentHome, reporter: Reporter, propose: Callable[..., Proposal], script: Any
) -> None:
    for run in ("first", "second"):
        Consents(home.consents).give(propose(run=run))
    home.policy.write_text("max_rounds: 1\n")
    script.answers["answers"] = (503, None)
    for _ in range(2):
        reporter.step()
    assert Consents(home.consents).all() == ()
