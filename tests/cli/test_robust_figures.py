"""Accuracy under attack stands in a run's table beside the others, and adds up over sites as they do."""

import io

import pytest
from rich.console import Console

from fedward_cli.display.tables import figure_names, results_table
from fedward_cli.simulation.averages import pooled
from fedward_cli.simulation.results import Moment, Results
from fedward_core.metric import Metric, Metrics


def site(n: int, **values: float) -> Metrics:
    return {name: Metric(value=value, n=n) for name, value in values.items()}


def results(**sites: Metrics) -> Results:
    return Results(evaluations={Moment(stage="s", round=0, site=name): metrics for name, metrics in sites.items()})


def test_the_table_shows_accuracy_under_attack_with_its_n() -> None:
    run = results(a=site(30, accuracy=0.9, fgsm_accuracy=0.7, pgd_accuracy=0.5, auto_attack_accuracy=0.4))
    out = io.StringIO()
    Console(file=out, width=200).print(results_table(run, "robust"))
    assert "accuracy under PGD" in out.getvalue()
    assert "accuracy under AutoAttack" in out.getvalue()
    assert "0.500 n=30" in out.getvalue()


def test_runs_without_attacks_have_the_columns_that_they_had() -> None:
    assert figure_names(results(a=site(30, accuracy=0.9, auroc=0.8, loss=0.3))) == ("accuracy", "auroc")


@pytest.mark.parametrize("name", ["accuracy", "pgd_accuracy", "auto_attack_accuracy"])
def test_accuracies_add_up_over_sites(name: str) -> None:
    found = pooled({"a": site(30, **{name: 0.5}), "b": site(10, **{name: 0.1}), "c": site(5, loss=1.0)}, name)
    assert found.value == pytest.approx((30 * 0.5 + 10 * 0.1) / 40)
    assert found.n == 40
