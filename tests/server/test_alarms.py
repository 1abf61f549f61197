"""What training and evaluation warn of."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from fedward_core.events import EventKind
from fedward_core.metric import Metric
from fedward_core.order import Work
from fedward_core.robustness import FGSM_ACCURACY, PGD_ACCURACY, overfits_catastrophically
from fedward_server.rounds.alarms import alarms, training_alarms
from fedward_server.rounds.exchange import Answer, Errand

Script = Callable[[str, Errand], list[Answer]]

# Accuracy under one step and under PGD with 20 steps, in percent, of small networks trained at a radius of 0.15 on
# scikit-learn's digits, seed 0: plain FGSM training, and training that holds.
COLLAPSED = {"plain": (71, 8), "plain, seed 1": (85, 1), "softplus": (62, 12)}
HOLDS = {
    "fgsm_rs": (63, 33),
    "mask": (57, 33),
    "stride": (72, 47),
    "silu": (64, 42),
    "penalty": (66, 45),
    "all tricks": (57, 49),
}


def figures(**values: float | None) -> dict[str, Metric]:
    return {name: Metric(value=value, n=497) for name, value in values.items()}


@pytest.mark.parametrize(("one", "several"), COLLAPSED.values(), ids=COLLAPSED)
def test_a_run_that_overfitted_catastrophically_is_told(one: float, several: float) -> None:
    (reason,) = alarms(figures(accuracy=0.9, fgsm_accuracy=one / 100, pgd_accuracy=several / 100))
    assert "catastrophic overfitting" in reason
    assert list(
        training_alarms({"loss": 0.5, "fgsm_accuracy": one / 100, "pgd_accuracy": several / 100}, first=True)
    ) == [reason]


@pytest.mark.parametrize(("one", "several"), HOLDS.values(), ids=HOLDS)
def test_runs_that_hold_are_silent(one: float, several: float) -> None:
    assert list(alarms(figures(accuracy=0.9, fgsm_accuracy=one / 100, pgd_accuracy=several / 100))) == []
    assert list(training_alarms({"fgsm_accuracy": one / 100, "pgd_accuracy": several / 100}, first=True)) == []


def test_a_model_that_has_learned_nothing_yet_is_no_alarm() -> None:
    assert not overfits_catastrophically(fgsm_accuracy=0.11, pgd_accuracy=0.02)


def test_evaluations_without_attacks_or_without_values_are_silent() -> None:
    assert list(alarms(figures(accuracy=0.9))) == []
    assert list(alarms(figures(fgsm_accuracy=None, pgd_accuracy=0.1))) == []
    assert list(training_alarms({"loss": 0.5, "fgsm_accuracy": 0.9}, first=True)) == []


def test_one_class_that_takes_nearly_all_is_told() -> None:
    (reason,) = alarms(figures(largest_class_share=0.97))
    assert reason == "one class takes 97% of the predictions on 497 images"


def test_a_site_whose_training_collapsed_is_told_in_its_round_and_still_counts(
    run_scripts: Any, honest_site: Script
) -> None:
    def collapsed(site: str, errand: Errand) -> list[Answer]:
        (answer,) = honest_site(site, errand)
        if errand.order.work is not Work.TRAIN or errand.order.round != 1:
            return [answer]
        assert answer.reply is not None
        figures = {**answer.reply.metrics, FGSM_ACCURACY: 0.8, PGD_ACCURACY: 0.05}
        return [replace(answer, reply=answer.reply.model_copy(update={"metrics": figures}))]

    outcome = run_scripts({"a": honest_site, "b": collapsed})
    warnings = [event for event in outcome.of(EventKind.WARNING) if "catastrophic" in event.facts["reason"]]
    assert [(event.site, event.round) for event in warnings] == [("b", 1)]
    assert all(event.facts["sites"] == ["a", "b"] for event in outcome.of(EventKind.ROUND_FINISHED))


def test_reports_that_lose_their_end_are_told_once() -> None:
    (reason,) = training_alarms({"cut_reports": 0.953}, first=True)
    assert reason.startswith("95% of the reports lost their end: raise text.max_tokens")
    assert list(training_alarms({"cut_reports": 0.953}, first=False)) == []
    assert list(training_alarms({"cut_reports": 0.3}, first=True)) == []
