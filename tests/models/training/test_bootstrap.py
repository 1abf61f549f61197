import numpy as np
import pytest

from fedward_core.arrays import Array
from fedward_core.metric import Metric
from fedward_models.training.bootstrap import Figure, measure, resample
from fedward_models.training.figures import mean_over


def interval_of(values: Array, patients: list[str]) -> Metric:
    figure = Figure(statistic=mean_over(values), n=len(values))
    return measure(figure, resample(patients, resamples=1000, seed=0))


def width(metric: Metric) -> float:
    assert metric.low is not None
    assert metric.high is not None
    return metric.high - metric.low


def names(count: int) -> list[str]:
    return [f"patient {number}" for number in range(count)]


def test_the_interval_of_a_mean_is_about_four_standard_errors_wide_around_it() -> None:
    values = np.random.default_rng(1).random(400)
    metric = interval_of(values, names(400))
    assert metric.value == pytest.approx(values.mean())
    assert metric.low < metric.value < metric.high  # type: ignore[operator]
    assert width(metric) == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.1)


def test_the_interval_shrinks_as_patients_are_added() -> None:
    values = np.random.default_rng(1).random(400)
    assert width(interval_of(values, names(400))) < 0.7 * width(interval_of(values[:100], names(100)))


def test_more_images_of_the_same_patients_do_not_shrink_it() -> None:
    values = np.random.default_rng(1).random(50)
    once, often = interval_of(values, names(50)), interval_of(np.repeat(values, 8), list(np.repeat(names(50), 8)))
    assert width(often) == pytest.approx(width(once), rel=1e-9)


def test_a_patient_is_drawn_with_all_images() -> None:
    weights = resample(["b", "a", "b", "c"], resamples=50, seed=0)
    assert (weights[:, 0] == weights[:, 2]).all()
    assert set(weights[:, [0, 1, 3]].sum(axis=1)) == {3.0}


def test_the_seed_decides() -> None:
    draws = [resample(names(9), resamples=5, seed=seed) for seed in (1, 1, 2)]
    assert (draws[0] == draws[1]).all()
    assert (draws[0] != draws[2]).any()


def test_a_single_patient_has_a_figure_without_interval() -> None:
    assert interval_of(np.array([1.0, 0.0]), ["a", "a"]) == Metric(value=0.5, n=2)


def test_without_resamples_there_is_no_interval() -> None:
    figure = Figure(statistic=mean_over(np.arange(3.0)), n=3)
    assert measure(figure, resample(names(3), resamples=0, seed=0)) == Metric(value=1.0, n=3)


def test_an_undefined_figure_keeps_its_n() -> None:
    figure = Figure(statistic=mean_over(np.ones(4), np.zeros(4, bool)), n=0)
    assert measure(figure, resample(names(4), resamples=9, seed=0)) == Metric(value=None, n=0)


@pytest.mark.parametrize(("rare", "interval"), [(1, (None, None)), (3, (1.0, 1.0)), (5, (1.0, 1.0))])
def test_there_is_no_interval_where_too_many_resamples_lose_what_a_figure_rests_on(
    rare: int, interval: tuple[float | None, float | None]
) -> None:
    """A draw of ten patients leaves out a single one in 35 %, all of three in 3 % and all of five in 0.1 %."""
    counted = np.arange(10) < rare
    weights = resample(names(10), resamples=2000, seed=0)
    metric = measure(Figure(statistic=mean_over(np.ones(10), counted), n=rare), weights)
    assert (metric.value, metric.low, metric.high) == (1.0, *interval)
