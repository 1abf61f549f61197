"""Who takes part in a run: laws of the decision, and the journey of a run that asks for enrolled sites."""

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedward_core.fleet_messages import Versions
from fedward_core.spec import Cohort
from fedward_server.scheduler.task import Finding
from fedward_server.sites.recruiting import Candidate, Period, recruit
from fedward_server.sites.service import OFFLINE_S
from fedward_server.sites.versions import our_versions

NOW = 1e9
EARLY = Period(since_s=NOW, until_s=NOW + 60, now_s=NOW + 1)
LATE = Period(since_s=NOW - 60, until_s=NOW, now_s=NOW)
OURS = our_versions()


def candidate(**changes: Any) -> Candidate:
    usual: dict[str, Any] = {"site": "north", "versions": OURS, "last_seen_s": NOW, "datasets": ("chest",)}
    return Candidate(**{**usual, **changes})


CANDIDATES = st.builds(
    candidate,
    versions=st.sampled_from([None, OURS, Versions(fedward=OURS.fedward, flower="0.1.0")]),
    last_seen_s=st.sampled_from([None, NOW, NOW - 2 * OFFLINE_S]),
    datasets=st.sampled_from([None, (), ("chest",), ("brain", "chest")]),
    takes_part=st.sampled_from([None, True, False]),
)


@given(candidates=st.lists(CANDIDATES, max_size=6), dataset=st.sampled_from([None, "chest"]), late=st.booleans())
def test_every_site_is_sorted_once_and_nobody_is_waited_for_in_the_end(
    candidates: list[Candidate], dataset: str | None, late: bool
) -> None:
    named = tuple(Candidate(**{**vars(one), "site": f"site-{index}"}) for index, one in enumerate(candidates))
    found = recruit(named, dataset, LATE if late else EARLY)
    assert sorted([*found.taking_part, *found.left_out, *found.waiting]) == sorted(one.site for one in named)
    assert not (late and found.waiting)
    assert all(found.left_out.values())


@given(one=CANDIDATES, late=st.booleans())
def test_nobody_takes_part_who_has_not_said_yes(one: Candidate, late: bool) -> None:
    taking_part = recruit((one,), "chest", LATE if late else EARLY).taking_part
    assert not taking_part or (one.takes_part and one.versions == OURS and "chest" in (one.datasets or ()))


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"versions": None}, "not enrolled any more"),
        ({"takes_part": False, "reason": "the steward said no"}, "the steward said no"),
        ({"takes_part": False}, "no reason"),
        ({"datasets": ("brain",), "takes_part": True}, "no dataset 'chest'"),
        ({"versions": Versions(fedward="0.0.1", flower=OURS.flower)}, "Fedward 0.0.1"),
        ({"versions": Versions(fedward=OURS.fedward, flower="1.99.3")}, "Flower 1.99.3"),
    ],
)
def test_a_site_that_cannot_take_part_is_left_out_at_once_with_the_reason(changes: Any, word: str) -> None:
    assert word in recruit((candidate(**changes),), "chest", EARLY).left_out["north"]


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({}, "did not answer in time"),
        ({"datasets": None, "takes_part": True}, "not told which datasets"),
        ({"last_seen_s": NOW - 100}, "last heard of 100 s ago"),
        ({"last_seen_s": None}, "never heard of"),
    ],
)
def test_a_site_that_stays_silent_is_left_out_in_the_end(changes: Any, word: str) -> None:
    assert recruit((candidate(**changes),), "chest", EARLY).waiting == ("north",)
    assert word in recruit((candidate(**changes),), "chest", LATE).left_out["north"]


def test_a_site_without_the_dataset_may_rehearse() -> None:
    one = candidate(datasets=None, takes_part=True)
    assert recruit((one,), None, EARLY).taking_part == ("north",)


def test_sites_that_are_held_out_do_not_make_up_for_those_that_train() -> None:
    found = recruit(tuple(candidate(site=site, takes_part=True) for site in ("a", "b", "c")), "chest", EARLY)
    assert found.can_serve(Cohort(min_sites=3))
    assert found.can_serve(Cohort(min_sites=2, hold_out=("c",)))
    assert not found.can_serve(Cohort(min_sites=3, hold_out=("c",)))


SPEC = {
    "name": "drill",
    "dataset": {"name": "none"},
    "cohort": {"min_sites": 2},
    "stages": [{"name": "only", "method": "rehearsal", "rounds": 1}],
}


class Journey:
    """A study of three enrolled sites, and a run that asks for them."""

    def __init__(self, hub: Any) -> None:
        self.hub = hub
        self.keys = {site: hub.site(site) for site in ("hill", "north", "river")}
        body = {"name": "network", "sites": list(self.keys), "enrolled": True}
        assert hub.call("POST", "/studies", json=body).status_code == 201
        answer = hub.call("POST", "/runs", json={"study": "network", "spec": SPEC, "run": "drill-1"})
        assert answer.status_code == 201, answer.text
        assert answer.json()["engine"] == "deployment"
        assert answer.json()["cohort"] is None

    def run(self) -> Any:
        return self.hub.call("GET", "/runs/drill-1").json()

    def wait(self, *states: str) -> Any:
        for _ in range(1000):
            if self.run()["state"] in states:
                return self.run()
            time.sleep(0.01)
        raise AssertionError(self.run())

    def proposals(self, site: str) -> list[Any]:
        """What the site is asked, once the half second is over for which the answer to all sites is kept."""
        for _ in range(200):
            found: list[Any] = self.hub.beat(self.keys[site])["proposals"]
            if found:
                return found
            time.sleep(0.01)
        return []

    def answer(self, site: str, *, takes_part: bool, reason: str = "") -> Any:
        body = {"run": "drill-1", "takes_part": takes_part, "reason": reason}
        return self.hub.call("POST", "/fleet/answers", key=self.keys[site], json=body)

    def act(self, what: str) -> Any:
        return self.hub.call("POST", f"/runs/drill-1/{what}")

    def events(self, kind: str) -> dict[str, Any]:
        events = self.hub.call("GET", "/runs/drill-1/events").json()
        return {event["site"]: event["facts"] for event in events if event["kind"] == kind}


@pytest.fixture
def journey(hub: Any, monkeypatch: pytest.MonkeyPatch) -> Journey:
    """Attempts are never started: what matters is whom they would be started with."""
    monkeypatch.setattr("fedward_server.scheduler.work.Work._start", lambda work, task: work._try_again(task, "enough"))
    monkeypatch.setattr("fedward_server.sites.board.FRESH_S", 0.0)
    return Journey(hub)


def test_sites_are_asked_with_the_whole_spec_and_those_that_say_yes_take_part(journey: Journey) -> None:
    journey.wait("recruiting")
    (proposal,) = journey.proposals("north")
    assert (proposal["run"], proposal["study"]) == ("drill-1", "network")
    assert proposal["spec"]["stages"][0]["rounds"] == 1
    assert proposal["spec_digest"] == journey.run()["spec_digest"]
    assert len(proposal["app"]) == 64
    assert journey.answer("north", takes_part=True).status_code == 204
    assert journey.hub.beat(journey.keys["north"])["proposals"] == []
    journey.answer("hill", takes_part=False, reason="the steward said no")
    assert journey.run()["state"] == "recruiting"
    journey.answer("river", takes_part=True)
    run = journey.wait("starting", "failed")
    assert run["cohort"] == ["north", "river"]
    assert journey.events("site_left_out") == {"hill": {"reason": "the steward said no"}}
    assert {site: facts["takes_part"] for site, facts in journey.events("site_answered").items()} == {
        "hill": False,
        "north": True,
        "river": True,
    }


def test_a_run_with_too_few_sites_fails_with_all_the_reasons(journey: Journey) -> None:
    journey.wait("recruiting")
    journey.answer("hill", takes_part=False, reason="no GPU is free")
    journey.answer("north", takes_part=False, reason="the steward said no")
    run = journey.wait("failed")
    assert "needs 2 sites that train, and at most 1 would" in run["reason"]
    assert "hill: no GPU is free; north: the steward said no" in run["reason"]
    assert journey.answer("river", takes_part=True).status_code == 409
    assert not journey.proposals("river")


def test_an_answer_may_be_given_twice_and_changed_while_it_matters(journey: Journey) -> None:
    journey.wait("recruiting")
    for takes_part in (False, True, True):
        assert journey.answer("north", takes_part=takes_part).status_code == 204
    assert len([e for e in journey.hub.call("GET", "/runs/drill-1/events").json() if e["kind"] == "site_answered"]) == 2


def test_a_site_fills_no_run_with_its_noes(journey: Journey, monkeypatch: pytest.MonkeyPatch) -> None:
    waits = "fedward_server.scheduler.work.Work._start"
    monkeypatch.setattr(waits, lambda work, task: Finding(bytes_read=task.bytes_read))
    journey.wait("recruiting")
    for site in ("hill", "north", "river"):
        journey.answer(site, takes_part=True)
    journey.wait("starting")
    for number in range(5):
        assert journey.answer("north", takes_part=False, reason=f"no, {number}").status_code == 204
    events = journey.hub.call("GET", "/runs/drill-1/events").json()
    told = [event for event in events if (event["kind"], event["site"]) == ("site_answered", "north")]
    assert [event["facts"]["reason"] for event in told] == ["", "no, 0"]


def test_a_site_that_a_run_does_not_ask_for_answers_nothing_in_its_own_name_or_in_another(journey: Journey) -> None:
    journey.wait("recruiting")
    journey.keys["far"] = journey.hub.site("far")
    assert journey.answer("far", takes_part=True).status_code == 404
    assert journey.events("site_answered") == {}


def test_a_run_that_recruits_can_be_paused_resumed_and_stopped(journey: Journey) -> None:
    journey.wait("recruiting")
    assert journey.act("pause").json()["state"] == "paused"
    assert journey.act("pause").json()["state"] == "paused"
    assert journey.act("resume").json()["state"] == "submitted"
    journey.wait("recruiting")
    assert journey.act("stop").json()["state"] == "cancelled"
    assert journey.act("resume").status_code == journey.act("pause").status_code == 409


def test_a_run_that_failed_for_want_of_sites_asks_all_of_them_again(journey: Journey) -> None:
    journey.wait("recruiting")
    for site in ("hill", "north"):
        journey.answer(site, takes_part=False, reason="the scanner is down")
    journey.answer("river", takes_part=True)
    journey.wait("failed")
    assert journey.act("resume").json()["state"] == "submitted"
    journey.wait("recruiting")
    for site in journey.keys:
        assert journey.proposals(site)
        journey.answer(site, takes_part=True)
    journey.wait("starting", "failed")
    assert journey.run()["cohort"] == ["hill", "north", "river"]


def test_sites_are_asked_anew_by_a_run_that_was_paused_before_it_began(journey: Journey) -> None:
    journey.wait("recruiting")
    journey.answer("north", takes_part=True)
    journey.act("pause")
    assert journey.answer("north", takes_part=False).status_code == 409
    journey.act("resume")
    journey.wait("recruiting")
    assert journey.proposals("north")


def test_who_enrols_under_the_name_of_a_revoked_site_is_asked_itself(journey: Journey) -> None:
    journey.wait("recruiting")
    journey.answer("hill", takes_part=True)
    assert journey.hub.call("DELETE", "/sites/hill").status_code == 204
    journey.keys["hill"] = journey.hub.site("hill")
    assert journey.proposals("hill")


def test_a_revoked_site_is_left_out(journey: Journey) -> None:
    journey.wait("recruiting")
    assert journey.hub.call("DELETE", "/sites/hill").status_code == 204
    journey.answer("north", takes_part=True)
    journey.answer("river", takes_part=True)
    journey.wait("starting", "failed")
    assert journey.events("site_left_out") == {"hill": {"reason": "it is not enrolled any more"}}


def test_a_study_of_enrolled_sites_names_enrolled_ones_and_no_folder(hub: Any) -> None:
    hub.site("north")
    unknown = hub.call("POST", "/studies", json={"name": "s", "sites": ["north", "far"], "enrolled": True})
    assert unknown.status_code == 409
    assert "far" in unknown.json()["error"]["message"]
    folder = {"name": "s", "sites": ["north"], "enrolled": True, "data": "/tmp"}
    assert hub.call("POST", "/studies", json=folder).status_code == 422


def test_enrolled_sites_are_reached_by_the_deployment_engine_only(journey: Journey) -> None:
    body = {"study": "network", "spec": SPEC, "engine": "inline"}
    answer = journey.hub.call("POST", "/runs", json=body)
    assert answer.status_code == 422
    assert "deployment" in answer.json()["error"]["message"]
