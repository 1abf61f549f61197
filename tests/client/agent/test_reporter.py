"""What the agent tells the coordinator, and what it does with the replies."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fedward_client.agent import coordinator
from fedward_client.agent.catalogue import Catalogue
from fedward_client.agent.consents import Consents
from fedward_client.agent.coordinator import Coordinator
from fedward_client.agent.errors import CoordinatorAwayError
from fedward_client.agent.home import AgentHome
from fedward_client.agent.key import SiteKey
from fedward_client.agent.permissions import Permissions
from fedward_client.agent.reporter import Reporter
from fedward_core.errors import CheckpointError
from fedward_core.fleet_messages import Cards, Heartbeat, Proposal
from fedward_models.data import generate

Propose = Callable[..., Proposal]


@pytest.fixture
def hospital(tmp_path: Path) -> Path:
    """The file with the site's images, in a folder whose name must not leave the site."""
    folder = tmp_path / "secret-ward"
    generate(folder, sites=1, images_per_site=20, image_px=16, seed=1)
    return next(folder.glob("*.npz"))


@pytest.fixture
def reporter(home: AgentHome, script: Any) -> Reporter:
    catalogue = Catalogue(home.catalogue, "north", log=home.path / "cards.log")
    permissions = Permissions(home, SiteKey.read(home.key), tls=False)
    return Reporter(home, Coordinator(script.url, key="fw_secret"), permissions, catalogue)


def offer(home: AgentHome, path: Path, **policy: object) -> None:
    lines = [f"{key}: {value}" for key, value in policy.items()]
    home.policy.write_text("\n".join((f"datasets: {{simulated: {{path: {path}}}}}", *lines)))


def test_a_heartbeat_tells_versions_disk_and_approvals_and_nothing_private(
    home: AgentHome, reporter: Reporter, script: Any, hospital: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="fedward_client")
    offer(home, hospital)
    reporter.runs = ("drill-1",)
    assert reporter.step() == 5.0
    _, _, authorization, body = script.heard[0]
    assert authorization == "Bearer fw_secret"
    heartbeat = Heartbeat.model_validate(body)
    assert heartbeat.runs == ("drill-1",)
    assert heartbeat.approved == ("a" * 64,)
    assert heartbeat.free_disk_bytes > 0
    assert len(heartbeat.cards_digest) == 64
    told = str(script.heard) + caplog.text
    for secret in ("secret-ward", str(home.path), "PRIVATE KEY"):
        assert secret not in told
    assert "fw_secret" not in caplog.text


def test_cards_are_published_when_they_are_asked_for_in_counts_only(
    home: AgentHome, reporter: Reporter, script: Any, hospital: Path
) -> None:
    offer(home, hospital)
    script.answers["heartbeats"] = (200, {"interval_s": 5.0, "send_cards": True})
    reporter.step()
    cards = Cards.model_validate(script.bodies("cards")[0])
    assert cards.digest == script.bodies("heartbeats")[0]["cards_digest"]
    assert [(card.site, card.dataset) for card in cards.cards] == [("north", "simulated")]
    assert sum(cards.cards[0].num_images.values()) == 20
    assert "secret-ward" not in str(script.heard)


def test_cards_change_with_the_data_and_are_not_made_anew_without(
    home: AgentHome, reporter: Reporter, hospital: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(home, hospital)
    reporter.step()
    first = reporter._catalogue.cards
    made: list[object] = []
    make = Catalogue._made

    def make_and_note(self: Catalogue, offers: Any) -> Cards:
        made.append(offers)
        return make(self, offers)

    monkeypatch.setattr(Catalogue, "_made", make_and_note)
    reporter.step()
    assert made == []
    generate(hospital.parent / "more", sites=1, images_per_site=24, image_px=16, seed=2)
    (hospital.parent / "more" / hospital.name).replace(hospital)
    reporter.step()
    assert len(made) == 1
    assert reporter._catalogue.cards.digest != first.digest


def test_a_dataset_that_cannot_be_used_has_no_card_and_a_warning_without_its_path(
    home: AgentHome, reporter: Reporter, caplog: pytest.LogCaptureFixture
) -> None:
    offer(home, Path("/nowhere/secret-ward"))
    assert reporter.step() == 5.0
    assert reporter._catalogue.cards.cards == ()
    assert "dataset 'simulated' cannot be used" in caplog.text
    assert "secret-ward" not in caplog.text


def test_a_proposal_within_the_policy_is_agreed_to_with_its_very_spec(
    home: AgentHome, reporter: Reporter, script: Any, hospital: Path, propose: Propose
) -> None:
    offer(home, hospital)
    proposal = propose()
    script.answers["heartbeats"] = (200, {"interval_s": 5.0, "proposals": [proposal.model_dump(mode="json")]})
    reporter.step()
    assert script.bodies("answers") == [{"run": "drill-1", "takes_part": True, "reason": ""}]
    assert Consents(home.consents).cover("drill-1", proposal.spec_digest)
    assert not Consents(home.consents).cover("drill-1", "0" * 64)
    assert not Consents(home.consents).cover("drill-2", proposal.spec_digest)


def test_a_proposal_beyond_the_policy_is_refused_and_no_consent_is_left(
    home: AgentHome, reporter: Reporter, script: Any, hospital: Path, propose: Propose
) -> None:
    offer(home, hospital, max_rounds=2)
    script.answers["heartbeats"] = (200, {"interval_s": 5.0, "proposals": [propose().model_dump(mode="json")]})
    reporter.step()
    answer = script.bodies("answers")[0]
    assert (answer["takes_part"], "allows 2 rounds" in answer["reason"]) == (False, True)
    assert Consents(home.consents).all() == ()


def test_a_run_whose_refusal_takes_many_words_holds_up_no_other(
    home: AgentHome, reporter: Reporter, script: Any, hospital: Path, propose: Propose
) -> None:
    offer(home, hospital)
    wordy, plain = propose(run="wordy", dataset={"name": "x" * 255, "image_px": 16}), propose()
    proposals = [one.model_dump(mode="json") for one in (wordy.model_copy(update={"study": "y" * 5000}), plain)]
    script.answers["heartbeats"] = (200, {"interval_s": 5.0, "proposals": proposals})
    home.policy.write_text(home.policy.read_text() + "\nstudies: [chest]")
    assert reporter.step() == 5.0
    refused, agreed = script.bodies("answers")
    assert (refused["run"], refused["takes_part"], len(refused["reason"])) == ("wordy", False, 500)
    assert (agreed["run"], agreed["takes_part"]) == ("drill-1", True)
    assert len(list(reporter.heard())) == 1


def test_a_run_that_cannot_be_judged_is_refused_and_holds_up_no_other(
    home: AgentHome, reporter: Reporter, script: Any, hospital: Path, propose: Propose
) -> None:
    offer(home, hospital)
    judge = reporter._permissions.refusal

    def refusal(proposal: Proposal) -> str:
        if proposal.run == "odd":
            raise RecursionError
        if proposal.run == "loud":
            return "two\nlines\x1b"
        return judge(proposal)

    reporter._permissions.refusal = refusal  # type: ignore[method-assign]
    proposals = [one.model_dump(mode="json") for one in (propose(run="odd"), propose(run="loud"), propose())]
    script.answers["heartbeats"] = (200, {"interval_s": 5.0, "proposals": proposals})
    assert reporter.step() == 5.0
    assert [(answer["run"], answer["takes_part"]) for answer in script.bodies("answers")] == [
        ("odd", False),
        ("loud", False),
        ("drill-1", True),
    ]
    assert script.bodies("answers")[1]["reason"] == "two lines "
    assert not Consents(home.consents).cover("odd", proposals[0]["spec_digest"])


def test_an_answer_without_end_is_not_read_to_it(
    reporter: Reporter, script: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(coordinator, "MOST_BYTES", 1000)
    script.answers["heartbeats"] = (200, {"interval_s": 5.0, "ended": ["x" * 2000]})
    assert reporter.step() == 1.0
    assert "more than 1000 bytes" in caplog.text
    script.answers["heartbeats"] = (200, {"interval_s": 5.0})
    assert reporter.step() == 5.0


def test_words_of_a_coordinator_make_no_line_of_the_sites_log(
    reporter: Reporter, script: Any, caplog: pytest.LogCaptureFixture
) -> None:
    script.answers["heartbeats"] = (403, {"error": {"code": "forbidden", "message": "no\nERROR made up\x1b[2J"}})
    assert reporter.step() == 1.0
    assert "no ERROR made up [2J" in caplog.text


def test_a_policy_that_becomes_unreadable_allows_nothing_and_ends_what_is_at_work(
    home: AgentHome, reporter: Reporter, script: Any, propose: Propose
) -> None:
    Consents(home.consents).give(propose(run="old"))
    home.policy.write_text("max_rounds: [")
    reporter.runs = ("old",)
    script.answers["heartbeats"] = (200, {"interval_s": 5.0, "proposals": [propose().model_dump(mode="json")]})
    reporter.step()
    assert script.bodies("heartbeats")[0]["approved"] == []
    assert "cannot be read" in script.bodies("answers")[0]["reason"]
    assert not reporter._permissions.approves("a" * 64)
    assert ("old",) in [heard.ended for heard in reporter.heard()]


def test_a_consent_that_todays_policy_would_not_give_is_withdrawn_and_the_run_ended(
    home: AgentHome, reporter: Reporter, script: Any, hospital: Path, propose: Propose
) -> None:
    Consents(home.consents).give(propose(run="old"))
    offer(home, hospital, studies="[brain]")
    reporter.step()
    assert Consents(home.consents).all() == ()
    assert script.bodies("answers")[0] == {
        "run": "old",
        "takes_part": False,
        "reason": "the site does not take part in study 'chest'",
    }
    assert ("old",) in [heard.ended for heard in reporter.heard()]


def test_a_full_disk_refuses_new_runs_and_withdraws_no_consent(
    home: AgentHome, reporter: Reporter, script: Any, hospital: Path, propose: Propose
) -> None:
    Consents(home.consents).give(propose(run="old"))
    offer(home, hospital, min_free_disk_gb=1e9)
    script.answers["heartbeats"] = (200, {"interval_s": 5.0, "proposals": [propose().model_dump(mode="json")]})
    reporter.step()
    assert [(answer["run"], answer["takes_part"]) for answer in script.bodies("answers")] == [("drill-1", False)]
    assert [consent.run for consent in Consents(home.consents).all()] == ["old"]


def test_a_consent_that_cannot_be_written_holds_up_neither_other_answers_nor_what_was_heard(
    home: AgentHome,
    reporter: Reporter,
    script: Any,
    propose: Propose,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def give(consents: Consents, proposal: Proposal) -> None:
        raise CheckpointError("cannot write 'drill-1.json': No space left on device")

    offer(home, Path("/nowhere"))
    proposals = [propose().model_dump(mode="json"), propose(app="b" * 64, run="other").model_dump(mode="json")]
    script.answers["heartbeats"] = (200, {"interval_s": 5.0, "proposals": proposals, "ended": ["old"]})
    with monkeypatch.context() as patch:
        patch.setattr(Consents, "give", give)
        assert reporter.step() == 5.0
    assert [answer["run"] for answer in script.bodies("answers")] == ["other"]
    assert [heard.ended for heard in reporter.heard()] == [("old",)]
    assert list(reporter.agreed()) == []
    reporter.step()
    assert [answer["run"] for answer in script.bodies("answers")] == ["other", "drill-1", "other"]


def test_cards_that_are_refused_hold_up_neither_answers_nor_what_was_heard(
    home: AgentHome, reporter: Reporter, script: Any, hospital: Path, propose: Propose
) -> None:
    offer(home, hospital)
    proposals = [propose().model_dump(mode="json")]
    told = {"interval_s": 5.0, "proposals": proposals, "ended": ["old"], "send_cards": True}
    script.answers["heartbeats"] = (200, told)
    script.answers["cards"] = (413, {"error": {"code": "too_large", "message": "larger than is taken"}})
    assert reporter.step() == 5.0
    assert [answer["run"] for answer in script.bodies("answers")] == ["drill-1"]
    assert [heard.ended for heard in reporter.heard()] == [("old",)]


def test_cards_that_are_refused_are_tried_later_and_later_and_put_off_no_report(
    home: AgentHome, reporter: Reporter, script: Any, hospital: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a site with cards that are too large would count as offline for ever."""
    offer(home, hospital)
    script.answers["heartbeats"] = (200, {"interval_s": 5.0, "send_cards": True})
    script.answers["cards"] = (413, {"error": {"code": "too_large", "message": "larger than is taken"}})
    monkeypatch.setattr("fedward_client.agent.reporter.FIRST_PAUSE_S", 3600.0)
    assert [reporter.step() for _ in range(3)] == [5.0] * 3
    assert len(script.bodies("cards")) == 1


def test_a_coordinator_that_takes_no_answers_is_reported_to_all_the_same(
    home: AgentHome, reporter: Reporter, script: Any, propose: Propose, caplog: pytest.LogCaptureFixture
) -> None:
    offer(home, Path("/nowhere"))
    script.answers["answers"] = (503, {"error": {"code": "unavailable", "message": "the database does not answer"}})
    proposals = [propose(run=run).model_dump(mode="json") for run in ("one", "two")]
    script.answers["heartbeats"] = (200, {"interval_s": 5.0, "proposals": proposals})
    assert reporter.step() == 5.0
    assert [answer["run"] for answer in script.bodies("answers")] == ["one"]
    assert "is left to the next report" in caplog.text


def test_an_answer_that_comes_too_late_holds_up_no_other(
    home: AgentHome, reporter: Reporter, script: Any, hospital: Path, propose: Propose
) -> None:
    offer(home, hospital)
    script.answers["answers"] = (409, {"error": {"code": "conflict", "message": "the run takes no answers any more"}})
    proposals = [propose(run=run).model_dump(mode="json") for run in ("late", "drill-1")]
    script.answers["heartbeats"] = (200, {"interval_s": 5.0, "proposals": proposals})
    assert reporter.step() == 5.0
    assert [answer["run"] for answer in script.bodies("answers")] == ["late", "drill-1"]


def test_runs_that_were_agreed_to_are_told_once_so_that_their_apps_are_made_ready(
    home: AgentHome, reporter: Reporter, script: Any, hospital: Path, propose: Propose
) -> None:
    offer(home, hospital, studies="[chest]")
    proposals = [propose(), propose(run="other", study="brain")]
    told = [one.model_dump(mode="json") for one in proposals]
    script.answers["heartbeats"] = (200, {"interval_s": 5.0, "proposals": told})
    reporter.step()
    assert list(reporter.agreed()) == proposals[:1]
    assert list(reporter.agreed()) == []


def test_an_agent_outlives_a_coordinator_that_is_away_and_waits_longer_each_time(
    reporter: Reporter, script: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="fedward_client")
    script.stop()
    pauses = [reporter.step() for _ in range(9)]
    assert pauses == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0]
    assert caplog.text.count("does not answer") == 1
    script.start()
    assert reporter.step() == 5.0
    assert "answers again" in caplog.text
    script.answers["heartbeats"] = (500, {"error": {"code": "internal", "message": "x"}})
    assert reporter.step() == 1.0


def test_an_agent_outlives_a_coordinator_that_is_away_for_days(reporter: Reporter) -> None:
    pauses = [reporter._wait_longer(CoordinatorAwayError("away")) for _ in range(2000)]
    assert pauses[-1] == 60.0


def test_an_agent_outlives_a_full_disk_and_a_fault_of_its_own(
    home: AgentHome, reporter: Reporter, script: Any, propose: Propose, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Consents, proposal: Proposal) -> None:
        raise CheckpointError("cannot write 'drill-1.json': No space left on device.")

    offer(home, Path("/nowhere"))
    proposal = propose().model_dump(mode="json")
    script.answers["heartbeats"] = (200, {"interval_s": 5.0, "proposals": [proposal]})
    with monkeypatch.context() as patch:
        patch.setattr(Consents, "give", full)
        assert reporter.step() == 5.0
    assert script.bodies("answers") == []
    with monkeypatch.context() as patch:
        patch.setattr("fedward_client.agent.reporter.gpu_names", lambda _: 1 / 0)
        assert reporter.step() == 1.0
    assert reporter.step() == 5.0
    assert script.bodies("answers")[0]["takes_part"]


def test_no_coordinator_keeps_a_site_from_reviewing_its_consents(
    home: AgentHome, reporter: Reporter, script: Any, propose: Propose, monkeypatch: pytest.MonkeyPatch
) -> None:
    script.answers["heartbeats"] = (200, {"interval_s": 1e12})
    assert reporter.step() == 60.0
    Consents(home.consents).give(propose(run="old"))
    offer(home, Path("/nowhere"), studies="[brain]")
    monkeypatch.setattr(Catalogue, "refresh", lambda *_: 1 / 0)
    reporter.step()
    assert Consents(home.consents).all() == ()


def test_a_key_that_was_revoked_is_said_and_tried_again(
    reporter: Reporter, script: Any, caplog: pytest.LogCaptureFixture
) -> None:
    script.answers["heartbeats"] = (401, {"error": {"code": "unauthorized", "message": "this key is not known here"}})
    assert reporter.step() == 1.0
    assert "this key is not known here" in caplog.text


def test_instructions_are_heard_once_and_in_order(reporter: Reporter, script: Any) -> None:
    for ended in (["one"], ["two"]):
        script.answers["heartbeats"] = (200, {"interval_s": 1.0, "ended": ended, "active": True})
        reporter.step()
    assert [heard.ended for heard in reporter.heard()] == [("one",), ("two",)]
    assert list(reporter.heard()) == []


def test_a_clock_that_is_off_is_said(
    reporter: Reporter, script: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    for off_s in (None, 5.0, -5.0):
        monkeypatch.setattr(Coordinator, "clock_off_s", off_s)
        reporter.step()
    assert "clock" not in caplog.text
    monkeypatch.setattr(Coordinator, "clock_off_s", -90.0)
    reporter.step()
    assert "this machine's clock is -90 s off" in caplog.text
