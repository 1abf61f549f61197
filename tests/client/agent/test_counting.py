"""Reports go on while the cards of a site's datasets are made, and when they cannot be made."""

import threading
from collections.abc import Mapping
from typing import Any

import pytest

from fedward_client.agent import counting
from fedward_client.agent.catalogue import Catalogue
from fedward_client.agent.coordinator import Coordinator
from fedward_client.agent.errors import AgentError
from fedward_client.agent.home import AgentHome
from fedward_client.agent.key import SiteKey
from fedward_client.agent.permissions import Permissions
from fedward_client.agent.policy import Offer
from fedward_client.agent.reporter import Reporter
from fedward_core.fleet_messages import Cards


@pytest.fixture
def reporter(home: AgentHome, script: Any) -> Reporter:
    """Its coordinator always asks for cards."""
    script.answers["heartbeats"] = (200, {"interval_s": 5.0, "send_cards": True})
    catalogue = Catalogue(home.catalogue, "north", log=home.path / "cards.log")
    permissions = Permissions(home, SiteKey.read(home.key), tls=False)
    return Reporter(home, Coordinator(script.url, key="fw_secret"), permissions, catalogue)


def test_a_report_does_not_wait_until_all_images_are_counted(
    reporter: Reporter, script: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted, begun = threading.Event(), list[Catalogue]()

    def count(catalogue: Catalogue, _offers: Mapping[str, Offer]) -> None:
        begun.append(catalogue)
        counted.wait()
        catalogue.cards = Cards(cards=(), digest="counted")

    monkeypatch.setattr(Catalogue, "refresh", count)
    monkeypatch.setattr(counting, "PATIENCE_S", 0.01)
    assert [reporter.step() for _ in range(3)] == [5.0] * 3
    assert len(begun) == 1
    assert script.bodies("cards") == []
    counted.set()
    monkeypatch.setattr(counting, "PATIENCE_S", 600.0)
    reporter.step()
    assert [told["cards_digest"] for told in script.bodies("heartbeats")] == [""] * 3 + ["counted"]
    assert script.bodies("cards") == [{"cards": [], "digest": "counted"}]


@pytest.mark.parametrize("fault", [AgentError("the cards could not be made"), ZeroDivisionError("of our own")])
def test_cards_that_cannot_be_made_are_tried_again_later_and_hold_up_no_report(
    fault: Exception, reporter: Reporter, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tries: list[Exception] = []

    def fail(_catalogue: Catalogue, _offers: Mapping[str, Offer]) -> None:
        tries.append(fault)
        raise fault

    monkeypatch.setattr(Catalogue, "refresh", fail)
    assert [reporter.step() for _ in range(3)] == [5.0] * 3
    assert len(tries) == 1
    assert "could not be made; the next try is in 60 s" in caplog.text
    monkeypatch.setattr(counting, "RETRY_S", 0.0)
    reporter._counting._rests_until_s = 0.0
    reporter.step()
    reporter.step()
    assert len(tries) == 3
