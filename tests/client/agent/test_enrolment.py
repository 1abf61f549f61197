"""An invitation is taken up: what is told, what is kept, and what is refused before anything is told."""

import stat
import time
from email.utils import formatdate
from pathlib import Path
from typing import Any

import certifi
import httpx
import pytest

from fedward_client.agent.coordinator import Coordinator
from fedward_client.agent.enrolment import TEMPLATE, enrol
from fedward_client.agent.errors import AgentError, CoordinatorAwayError, RefusedError
from fedward_client.agent.home import AgentHome
from fedward_client.agent.key import SiteKey
from fedward_client.agent.membership import authority_of, read_enrolled


@pytest.fixture
def fresh(tmp_path: Path) -> AgentHome:
    return AgentHome(tmp_path / "fresh")


def test_enrolment_tells_the_public_key_and_keeps_the_membership_from_others(fresh: AgentHome, script: Any) -> None:
    enrolled = enrol(fresh, script.url, "token")
    body = script.bodies("enrolments")[0]
    assert body["token"] == "token"
    assert body["public_key"] == SiteKey.read(fresh.key).public_pem
    assert "PRIVATE" not in str(script.heard)
    assert read_enrolled(fresh) == enrolled
    assert enrolled.fleet == "127.0.0.1:9092"
    for secret in (fresh.key, fresh.membership):
        assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert stat.S_IMODE(fresh.path.stat().st_mode) == 0o700
    assert fresh.policy.read_text() == TEMPLATE.read_text()


def test_a_refused_token_leaves_no_membership_and_the_next_try_uses_the_same_key(fresh: AgentHome, script: Any) -> None:
    accepted = script.answers["enrolments"]
    script.answers["enrolments"] = (403, {"error": {"code": "forbidden", "message": "this invitation was used"}})
    with pytest.raises(RefusedError, match="this invitation was used"):
        enrol(fresh, script.url, "used")
    assert not fresh.membership.exists()
    script.answers["enrolments"] = accepted
    enrol(fresh, script.url, "token")
    used, token = script.bodies("enrolments")
    assert used["public_key"] == token["public_key"]


def test_a_home_that_is_enrolled_is_not_enrolled_again(home: AgentHome, script: Any) -> None:
    with pytest.raises(AgentError, match="choose another --home"):
        enrol(home, script.url, "token")
    assert script.heard == []


def test_plain_http_to_another_machine_is_refused_unless_it_is_wanted(fresh: AgentHome, script: Any) -> None:
    with pytest.raises(AgentError, match="could be read on the way"):
        enrol(fresh, "http://192.0.2.1:8080", "token")
    assert not fresh.path.exists()
    with pytest.raises(CoordinatorAwayError):  # it was asked: by name, this machine is another one
        enrol(fresh, "http://127.0.0.2:1", "token", insecure=True)


def test_a_policy_that_the_hospital_has_written_before_is_kept(fresh: AgentHome, script: Any) -> None:
    fresh.make()
    fresh.policy.write_text("max_rounds: 3\n")
    enrol(fresh, script.url, "token")
    assert fresh.policy.read_text() == "max_rounds: 3\n"


def test_the_certificate_of_the_authority_is_kept_for_every_later_call(fresh: AgentHome, script: Any) -> None:
    given = Path(certifi.where())
    enrol(fresh, script.url, "token", authority=given)
    kept = authority_of(fresh)
    assert kept is not None
    assert kept.read_bytes() == given.read_bytes()


@pytest.mark.parametrize("url", ["coordinator:8080", "ftp://somewhere", "https://", "https://host/api"])
def test_an_address_that_is_none_is_refused(url: str, fresh: AgentHome) -> None:
    with pytest.raises(AgentError, match="expected https://HOST:PORT"):
        enrol(fresh, url, "token")


def test_a_coordinator_that_is_away_or_is_none_is_said_to_be(fresh: AgentHome, script: Any) -> None:
    script.answers["enrolments"] = (201, {"welcome": "to another service"})
    with pytest.raises(CoordinatorAwayError, match="is the address right"):
        enrol(fresh, script.url, "token")
    script.stop()
    with pytest.raises(CoordinatorAwayError, match="does not answer"):
        enrol(fresh, script.url, "token")


def test_a_certificate_that_cannot_be_read_is_said(fresh: AgentHome, tmp_path: Path) -> None:
    with pytest.raises(AgentError, match="--ca cannot be read"):
        enrol(fresh, "https://127.0.0.1:1", "token", authority=tmp_path / "missing.pem")
    (tmp_path / "wrong.pem").write_text("no certificate")
    with pytest.raises(AgentError, match="expected a PEM file"):
        enrol(fresh, "https://127.0.0.1:1", "token", authority=tmp_path / "wrong.pem")


def test_a_site_that_is_not_enrolled_is_told_how(fresh: AgentHome) -> None:
    with pytest.raises(AgentError, match="fedward agent enrol"):
        read_enrolled(fresh)


def test_one_home_has_one_agent(home: AgentHome) -> None:
    with home.claimed(), pytest.raises(AgentError, match="another agent uses"), home.claimed():
        pass


def test_a_look_at_a_home_changes_nothing_of_it(home: AgentHome, fresh: AgentHome) -> None:
    with home.claimed():
        home.path.chmod(0o711)  # as where client apps run as a user of their own
        assert home.is_claimed
        assert stat.S_IMODE(home.path.stat().st_mode) == 0o711
    assert not home.is_claimed
    assert stat.S_IMODE(home.path.stat().st_mode) == 0o711
    assert not fresh.is_claimed
    assert not fresh.path.exists()


def test_a_time_that_cannot_be_read_is_no_fault(home: AgentHome) -> None:
    with Coordinator("http://127.0.0.1:1") as coordinator:
        for date in ({"Date": "soon"}, {}):
            coordinator._compare_clocks(httpx.Response(200, headers=date), asked_s=time.time())
        assert coordinator.clock_off_s is None


@pytest.mark.parametrize(("told_s", "off_s"), [(-20, 0.0), (-40, 10.0), (15, -15.0)], ids=["within", "ahead", "behind"])
def test_an_answer_that_takes_long_is_no_clock_that_is_off(told_s: float, off_s: float) -> None:
    now_s = time.time()
    answer = httpx.Response(200, headers={"Date": formatdate(now_s + told_s, usegmt=True)})
    with Coordinator("http://127.0.0.1:1") as coordinator:
        coordinator._compare_clocks(answer, asked_s=now_s - 30)
        assert coordinator.clock_off_s == pytest.approx(off_s, abs=2)
