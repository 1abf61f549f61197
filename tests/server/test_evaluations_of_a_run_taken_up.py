"""A run that is taken up has the figures of every site, and what is made of them, whenever it was killed."""

from collections.abc import Callable
from typing import Any

import pytest

from fedward_core.arrays import read_arrays
from fedward_core.events import EventKind
from fedward_core.order import Work
from fedward_server.rounds.exchange import Answer, Errand
from fedward_server.rounds.stage_run import StageRun
from fedward_server.rounds.stage_state import StageFolder

Script = Callable[[str, Errand], list[Answer]]
SITES = ("a", "bb", "ccc")


def killed_at(call: int, patch: pytest.MonkeyPatch, kind: type, name: str) -> None:
    """Let the run be killed as a function is called for the so-many-th time, before that does anything."""
    function, calls = getattr(kind, name), [0]

    def kill(*given: Any, **named: Any) -> Any:
        calls[0] += 1
        if calls[0] == call:
            raise KeyboardInterrupt
        return function(*given, **named)

    patch.setattr(kind, name, kill)


@pytest.fixture
def taken_up(run_scripts: Any, honest_site: Script, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Run, be killed as the so-many-th call of a function is made, and be taken up."""

    def run(call: int, kind: type, name: str, **settings: Any) -> Any:
        scripts = dict.fromkeys(SITES, honest_site)
        with monkeypatch.context() as patch:
            killed_at(call, patch, kind, name)
            with pytest.raises(KeyboardInterrupt):
                run_scripts(scripts, **settings)
        return run_scripts(scripts, **settings)

    return run


def evaluated(outcome: Any) -> list[tuple[str, int]]:
    return sorted((event.site, event.round) for event in outcome.of(EventKind.EVALUATED))


def test_an_evaluation_that_was_never_asked_for_is_made_up_for(taken_up: Any) -> None:
    outcome = taken_up(1, StageRun, "_evaluate_if_due", rounds=2, evaluate={"every": 1})
    assert evaluated(outcome) == [(site, round_) for site in SITES for round_ in (0, 1)]


@pytest.mark.parametrize("told", range(3))
def test_an_evaluation_that_was_cut_off_is_made_for_all_sites_again(told: int, taken_up: Any) -> None:
    """With what some had told, a run would be completed in which others have no figures at all."""
    outcome = taken_up(told + 1, StageRun, "_tell_evaluation", rounds=2)
    assert evaluated(outcome) == [(site, 1) for site in SITES]


def test_an_evaluation_that_is_on_record_is_not_made_again(taken_up: Any) -> None:
    outcome = taken_up(1, StageFolder, "finish", rounds=2)
    assert [errand.order.work for _, errand in outcome.exchange.errands] == [Work.DESCRIBE] * 3


def test_a_best_model_that_was_not_written_yet_is_chosen_again(taken_up: Any) -> None:
    evaluate = {"every": 1, "split": "val", "best": "accuracy"}
    outcome = taken_up(1, StageFolder, "keep_best", rounds=1, evaluate=evaluate)
    _, facts = read_arrays(outcome.out / "stages" / "only" / "best.safetensors")
    assert facts["best"]["round"] == 0
