"""What an evaluation warns of."""

import pytest

from fedward_core.metric import Metric
from fedward_core.robustness import overfits_catastrophically
from fedward_server.rounds.alarms import alarms

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


@pytest.mark.parametrize(("one", "several"), HOLDS.values(), ids=HOLDS)
def test_runs_that_hold_are_silent(one: float, several: float) -> None:
    assert list(alarms(figures(accuracy=0.9, fgsm_accuracy=one / 100, pgd_accuracy=several / 100))) == []


def test_a_model_that_has_learned_nothing_yet_is_no_alarm() -> None:
    assert not overfits_catastrophically(fgsm_accuracy=0.11, pgd_accuracy=0.02)


def test_evaluations_without_attacks_or_without_values_are_silent() -> None:
    assert list(alarms(figures(accuracy=0.9))) == []
    assert list(alarms(figures(fgsm_accuracy=None, pgd_accuracy=0.1))) == []


def test_one_class_that_takes_nearly_all_is_told() -> None:
    (reason,) = alarms(figures(largest_class_share=0.97))
    assert reason == "one class takes 97% of the predictions on 497 images"
