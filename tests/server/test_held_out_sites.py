"""Sites that evaluate and never train."""

from collections.abc import Callable
from typing import Any

import pytest

from fedward_core.errors import QuorumError, SpecError
from fedward_core.events import EventKind
from fedward_core.order import Work
from fedward_core.spec import Cohort
from fedward_server.rounds.exchange import Answer, Errand

Script = Callable[[str, Errand], list[Answer]]


def test_a_held_out_site_evaluates_and_never_trains(run_scripts: Any, honest_site: Script) -> None:
    outcome = run_scripts(dict.fromkeys(("a", "bb", "ccc"), honest_site), rounds=3, hold_out=("bb",))
    asked = {(site, errand.order.work) for site, errand in outcome.exchange.errands}
    assert ("bb", Work.EVALUATE) in asked
    assert ("bb", Work.TRAIN) not in asked
    assert all(event.facts["sites"] == ["a", "ccc"] for event in outcome.of(EventKind.ROUND_FINISHED))
    assert {event.site for event in outcome.of(EventKind.EVALUATED)} == {"a", "bb", "ccc"}


def test_a_held_out_site_changes_no_weight(run_scripts: Any, honest_site: Script, tmp_path: Any) -> None:
    """Leaving a site out by name, and not having it at all, train the same model."""
    with_it = run_scripts(dict.fromkeys(("a", "bb", "ccc"), honest_site), rounds=3, hold_out=("bb",))
    (tmp_path / "out").rename(tmp_path / "with-it")
    without = run_scripts(dict.fromkeys(("a", "ccc"), honest_site), rounds=3)
    digests = [[e.facts["digest"] for e in run.of(EventKind.ROUND_FINISHED)] for run in (with_it, without)]
    assert digests[0] == digests[1]


def test_a_held_out_site_gets_the_whole_model(run_scripts: Any, honest_site: Script) -> None:
    """It has trained none of it, so it joins at each evaluation."""
    outcome = run_scripts(dict.fromkeys(("a", "bb"), honest_site), rounds=2, hold_out=("bb",))
    orders = [errand.order for site, errand in outcome.exchange.errands if site == "bb"]
    assert [order.base for order in orders if order.work is Work.EVALUATE] == [None]


def test_sites_are_drawn_among_those_that_train(run_scripts: Any, honest_site: Script) -> None:
    sites = ("a", "bb", "ccc", "dddd")
    outcome = run_scripts(dict.fromkeys(sites, honest_site), rounds=10, hold_out=("bb",), sites_per_round=2)
    drawn = [event.facts["sites"] for event in outcome.of(EventKind.ROUND_FINISHED)]
    assert {site for sites in drawn for site in sites} == {"a", "ccc", "dddd"}


def test_an_absent_site_cannot_be_held_out(run_scripts: Any, honest_site: Script) -> None:
    with pytest.raises(SpecError, match="hold_out names coast, which take no part"):
        run_scripts({"a": honest_site}, hold_out=("coast",))


def test_held_out_sites_do_not_count_for_the_quorum(run_scripts: Any, honest_site: Script) -> None:
    with pytest.raises(QuorumError, match=r"has 1 sites \(a\), cohort.min_sites is 2"):
        run_scripts({"a": honest_site, "bb": honest_site}, min_sites=2, hold_out=("bb",))


def test_a_cohort_that_cannot_work_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="hold_out names coast, which sites does not"):
        Cohort(sites=("a", "b", "c"), hold_out=("coast",))
    with pytest.raises(ValueError, match="sites names only 2 that train"):
        Cohort(sites=("a", "b", "c"), hold_out=("c",))
