"""Rounds in which only some of the sites train."""

from collections.abc import Callable
from typing import Any

import pytest

from fedward_core.errors import QuorumError, SpecError
from fedward_core.events import EventKind
from fedward_core.order import Work
from fedward_core.spec import Cohort
from fedward_server.rounds.exchange import Answer, Errand

Script = Callable[[str, Errand], list[Answer]]
SITES = ("a", "bb", "ccc", "dddd", "eeeee")


def trained(outcome: Any) -> list[list[str]]:
    return [event.facts["sites"] for event in outcome.of(EventKind.ROUND_FINISHED)]


def test_as_many_sites_as_the_spec_says_train_in_each_round(run_scripts: Any, honest_site: Script) -> None:
    rounds = trained(run_scripts(dict.fromkeys(SITES, honest_site), rounds=20, sites_per_round=2))
    assert all(len(sites) == 2 for sites in rounds)
    assert {site for sites in rounds for site in sites} == set(SITES)
    assert len({tuple(sites) for sites in rounds}) > 3


def test_a_run_that_is_taken_up_draws_the_same_sites(run_scripts: Any, honest_site: Script, tmp_path: Any) -> None:
    undisturbed = run_scripts(dict.fromkeys(SITES, honest_site), rounds=6, sites_per_round=2)
    (tmp_path / "out").rename(tmp_path / "undisturbed")

    def late(site: str, errand: Errand) -> list[Answer]:
        return [] if errand.order.work is Work.TRAIN and errand.order.round == 3 else honest_site(site, errand)

    with pytest.raises(QuorumError):
        run_scripts(dict.fromkeys(SITES, late), rounds=6, sites_per_round=2, min_sites=2)
    taken_up = run_scripts(dict.fromkeys(SITES, honest_site), rounds=6, sites_per_round=2, min_sites=2)
    assert trained(undisturbed)[3:] == trained(taken_up)


def test_a_site_that_was_not_drawn_goes_on_from_its_own_last_round(run_scripts: Any, honest_site: Script) -> None:
    outcome = run_scripts(dict.fromkeys(SITES, honest_site), rounds=12, sites_per_round=2)
    last: dict[str, int] = {}
    for site, errand in outcome.exchange.errands:
        if errand.order.work is Work.TRAIN:
            base = errand.order.base
            assert (base.round if base else None) == last.get(site)
            last[site] = errand.order.round


def test_every_site_evaluates(run_scripts: Any, honest_site: Script) -> None:
    outcome = run_scripts(dict.fromkeys(SITES, honest_site), rounds=2, sites_per_round=2)
    assert {event.site for event in outcome.of(EventKind.EVALUATED)} == set(SITES)


def test_drawing_as_many_as_there_are_has_no_effect_and_is_refused(run_scripts: Any, honest_site: Script) -> None:
    with pytest.raises(SpecError, match="only 5 sites take part"):
        run_scripts(dict.fromkeys(SITES, honest_site), sites_per_round=5)


@pytest.mark.parametrize(
    ("cohort", "message"),
    [
        ({"sites": SITES, "sites_per_round": 5}, "no effect on 5 sites"),
        ({"sites_per_round": 2, "min_sites": 3}, "no round could succeed"),
    ],
)
def test_a_draw_that_contradicts_the_cohort_is_refused(cohort: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Cohort.model_validate(cohort)
