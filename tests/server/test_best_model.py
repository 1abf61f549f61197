"""The best evaluated round of a stage is kept, by the validation split alone."""

from typing import Any

import numpy as np
import pytest

from fedward_core.arrays import read_arrays
from fedward_core.errors import SpecError
from fedward_core.events import EventKind
from fedward_core.metric import Metric
from fedward_core.order import Reply, Work
from fedward_core.spec import Spec
from fedward_server.rounds.best import mean_weighted_by_images
from fedward_server.rounds.exchange import Answer, Errand

VALIDATION = {"every": 1, "split": "val"}


def measuring(metric: str, figures: list[float | None], honest: Any) -> Any:
    """A site that has these figures, one for each round."""

    def script(site: str, errand: Errand) -> list[Answer]:
        order = errand.order
        if order.work is not Work.EVALUATE:
            found: list[Answer] = honest(site, errand)
            return found
        figure = Metric(value=figures[order.round], n=4)
        heading = {"site": site, "work": order.work, "round": order.round, "parent": order.parent}
        return [Answer(site=site, reply=Reply(**heading, evaluation={metric: figure}))]

    return script


@pytest.mark.parametrize(
    ("metric", "figures", "best"),
    [("auroc", [0.5, 0.9, 0.9, 0.7], 1), ("loss", [3.0, 1.0, 0.5, 0.5], 2), ("auroc", [None, 0.1, None, 0.4], 3)],
)
def test_the_weights_of_the_best_round_are_kept(
    metric: str, figures: list[float | None], best: int, honest_site: Any, run_scripts: Any
) -> None:
    script = measuring(metric, figures, honest_site)
    outcome = run_scripts({"a": script}, rounds=4, evaluate={**VALIDATION, "best": metric})
    arrays, facts = read_arrays(outcome.out / "stages" / "only" / "best.safetensors")
    assert facts["best"] == {"metric": metric, "value": figures[best], "round": best}
    finished = outcome.of(EventKind.ROUND_FINISHED)
    assert facts["digest"] == finished[best].facts["digest"]
    assert {name: array.dtype for name, array in arrays.items()} == {"w": np.float32, "b": np.float32}


def test_a_site_that_is_held_out_chooses_nothing(honest_site: Any, run_scripts: Any) -> None:
    scripts = {
        "a": measuring("auroc", [0.5, 0.9, 0.7, 0.7], honest_site),
        "b": measuring("auroc", [0.1, 0.1, 0.1, 1.0], honest_site),
    }
    outcome = run_scripts(scripts, rounds=4, evaluate={**VALIDATION, "best": "auroc"}, hold_out=("b",))
    _, facts = read_arrays(outcome.out / "stages" / "only" / "best.safetensors")
    assert facts["best"] == {"metric": "auroc", "value": 0.9, "round": 1}
    assert {event.site for event in outcome.of(EventKind.EVALUATED)} == {"a", "b"}


def test_nothing_is_kept_where_no_figure_is_named(honest_site: Any, run_scripts: Any) -> None:
    outcome = run_scripts({"a": measuring("auroc", [0.5] * 3, honest_site)}, evaluate=VALIDATION)
    assert not (outcome.out / "stages" / "only" / "best.safetensors").exists()


def test_a_figure_that_nobody_measures_is_told_at_once(honest_site: Any, run_scripts: Any) -> None:
    script = measuring("accuracy", [0.5] * 3, honest_site)
    outcome = run_scripts({"a": script}, evaluate={**VALIDATION, "best": "acuracy"})
    first = outcome.of(EventKind.WARNING)[0]
    assert (first.round, first.site) == (0, None)
    assert "'acuracy', which no site that trains measured" in first.facts["reason"]
    assert "accuracy" in first.facts["reason"]
    assert not (outcome.out / "stages" / "only" / "best.safetensors").exists()


def test_a_figure_that_only_a_held_out_site_measures_is_one_that_no_site_that_trains_does(
    honest_site: Any, run_scripts: Any
) -> None:
    scripts = {
        "a": measuring("auroc", [None] * 3, honest_site),
        "b": measuring("auroc", [0.5] * 3, honest_site),
    }
    outcome = run_scripts(scripts, evaluate={**VALIDATION, "best": "auroc"}, hold_out=("b",))
    assert "'auroc', which no site that trains measured" in outcome.of(EventKind.WARNING)[0].facts["reason"]


def test_the_test_split_chooses_nothing() -> None:
    spec = {"name": "s", "dataset": {"name": "d"}, "stages": [{"name": "only", "method": "rehearsal", "rounds": 1}]}
    with pytest.raises(SpecError, match="test split must not"):
        Spec.parse({**spec, "evaluate": {"best": "auroc"}})


def test_the_mean_over_sites_is_that_over_all_images() -> None:
    figures = [
        {"auroc": Metric(value=0.5, n=10)},
        {"auroc": Metric(value=1.0, n=30)},
        {"auroc": Metric(value=None, n=50)},
        {"other": Metric(value=0.0, n=70)},
    ]
    assert mean_weighted_by_images(figures, "auroc") == pytest.approx((0.5 * 10 + 1.0 * 30) / 40)
    assert mean_weighted_by_images([], "auroc") is None
