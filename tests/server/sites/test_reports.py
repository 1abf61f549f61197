"""What agents tell, and what is made of it."""

import time
from pathlib import Path
from typing import Any

import pytest
from waiting import wait_until

from fedward_server.api.app import create_app
from fedward_server.errors import InvalidError
from fedward_server.home import Home
from fedward_server.sites.service import OFFLINE_S


@pytest.fixture
def patiently(monkeypatch: pytest.MonkeyPatch) -> None:
    """Heartbeats reach the database at once."""
    monkeypatch.setattr("fedward_server.sites.presence.WRITE_EVERY_S", 0.01)


def told(hub: Any, site: str) -> Any:
    wait_until(lambda: hub.call("GET", f"/sites/{site}").json()["last_seen_s"] is not None)
    return hub.call("GET", f"/sites/{site}").json()


@pytest.mark.usefixtures("patiently")
def test_a_heartbeat_is_seen_by_everybody(hub: Any) -> None:
    key = hub.site("north")
    assert not hub.call("GET", "/sites/north").json()["online"]
    hub.beat(key, gpus=["A100"], clock_s=time.time() + 3600, approved=["f" * 64], runs=["drill-1"])
    found = told(hub, "north")
    assert found["online"]
    assert found["gpus"] == ["A100"]
    assert found["free_disk_bytes"] == 10**12
    assert found["clock_offset_s"] == pytest.approx(3600, abs=30)
    assert (found["approved"], found["runs"]) == (["f" * 64], ["drill-1"])


@pytest.mark.usefixtures("patiently")
@pytest.mark.parametrize(
    "changes",
    [
        {"free_disk_bytes": 2**63},
        {"versions": {"fedward": "1\0", "flower": "1"}},
        {"clock_s": 10**400},
        {"gpus": ["\x1b]0;a title\x07"]},
        {"approved": ["x" * 201]},
        {"runs": ["x"] * 1001},
        {"cards_digest": "a\0"},
    ],
    ids=["disk", "version", "clock", "command of a terminal", "long", "many", "digest"],
)
def test_what_no_database_can_hold_is_refused_and_keeps_no_other_site_from_reporting(hub: Any, changes: Any) -> None:
    bad, good = hub.site("hill"), hub.site("north")
    answer = hub.call("POST", "/fleet/heartbeats", key=bad, json={**hub.heartbeat(), **changes})
    assert answer.status_code == 422
    hub.beat(good)
    assert told(hub, "north")["online"]


@pytest.mark.usefixtures("patiently")
def test_a_site_that_was_not_heard_of_for_long_is_offline(hub: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.beat(hub.site("north"))
    told(hub, "north")
    monkeypatch.setattr("fedward_server.sites.service.OFFLINE_S", -1.0)
    assert OFFLINE_S > 0
    assert not hub.call("GET", "/sites/north").json()["online"]


def test_runs_that_the_coordinator_does_not_want_are_to_be_ended(hub: Any) -> None:
    reply = hub.beat(hub.site("north"), runs=["unknown-1"])
    assert reply["ended"] == ["unknown-1"]
    assert not reply["active"]
    assert reply["proposals"] == []


def test_cards_are_asked_for_until_they_are_told(hub: Any, make_card: Any) -> None:
    key = hub.site("north")
    assert not hub.beat(key)["send_cards"]
    assert hub.beat(key, cards_digest="one")["send_cards"]
    body = {"cards": [make_card("north")], "digest": "one"}
    assert hub.call("PUT", "/fleet/cards", key=key, json=body).status_code == 204
    assert not hub.beat(key, cards_digest="one")["send_cards"]
    assert hub.beat(key, cards_digest="two")["send_cards"]
    assert hub.call("GET", "/sites/north").json()["datasets"] == [make_card("north")]


def test_datasets_are_shown_over_all_sites(hub: Any, make_card: Any) -> None:
    for site, datasets in {"north": ("chest", "brain"), "hill": ("chest",)}.items():
        body = {"cards": [make_card(site, dataset) for dataset in datasets], "digest": "d"}
        hub.call("PUT", "/fleet/cards", key=hub.site(site), json=body)
    found = {one["name"]: [card["site"] for card in one["cards"]] for one in hub.call("GET", "/datasets").json()}
    assert found == {"brain": ["north"], "chest": ["hill", "north"]}


def test_a_site_tells_its_own_cards_only_and_each_dataset_once(hub: Any, make_card: Any) -> None:
    key = hub.site("north")
    for cards in ([make_card("hill")], [make_card("north"), make_card("north")]):
        answer = hub.call("PUT", "/fleet/cards", key=key, json={"cards": cards, "digest": "d"})
        assert answer.status_code == 422


def test_an_answer_to_a_run_that_does_not_ask_is_refused(hub: Any) -> None:
    key = hub.site("north")
    answer = hub.call("POST", "/fleet/answers", key=key, json={"run": "none", "takes_part": True})
    assert answer.status_code == 404
    for reason in ("two\nlines", "two\u2028lines", "a\0", "\x1b[2J"):
        body = {"run": "none", "takes_part": False, "reason": reason}
        assert hub.call("POST", "/fleet/answers", key=key, json=body).status_code == 422


def test_agents_may_not_report_so_seldom_that_each_seems_offline(tmp_path: Path) -> None:
    with pytest.raises(InvalidError, match="at least every 10 s"):
        create_app(Home(tmp_path), heartbeat_s=11.0)
