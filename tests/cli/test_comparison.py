"""What is computed when arms are set side by side."""

from collections.abc import Mapping
from dataclasses import replace
from io import StringIO

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from fedward_cli.comparison.bootstrap import nested_interval, paired_interval
from fedward_cli.comparison.comparison import Comparison, compare_arms
from fedward_cli.comparison.report import comparison_table, notes
from fedward_cli.comparison.row import Difference, Figure, Row
from fedward_cli.simulation.averages import pooled
from fedward_cli.simulation.results import Moment, Results
from fedward_cli.simulation.site_prior import SITE_PRIOR, site_prior
from fedward_core.cards import Contract, DatasetCard, Split
from fedward_core.metric import WITHOUT_PROMPT, Metric, Metrics

CLASSES = ("normal", "pneumonia", "covid")
Counts = tuple[int, ...]


def card(site: str, train: Counts, test: Counts) -> DatasetCard:
    counts = {Split.TRAIN: train, Split.VALIDATION: (0,) * len(train), Split.TEST: test}
    sums = {split: sum(count) for split, count in counts.items()}
    contract = Contract(classes=CLASSES[: len(train)])
    return DatasetCard(
        site=site, dataset="x", contract=contract, num_images=sums, num_patients=sums, class_counts=counts, digest="d"
    )


def metrics_of(labels: np.ndarray, predicted: np.ndarray) -> Metrics:
    """The figures of one site, the slow way."""
    present = [k for k in range(len(CLASSES)) if (labels == k).any()]
    recalls = {k: float((predicted[labels == k] == k).mean()) for k in present}
    balanced = float(np.mean(list(recalls.values()))) if len(present) > 1 else None
    return {
        "accuracy": Metric(value=float((predicted == labels).mean()), n=len(labels)),
        "balanced_accuracy": Metric(value=balanced, n=len(labels)),
        **{
            f"recall/{CLASSES[k]}": Metric(value=recalls.get(k), n=int((labels == k).sum()))
            for k in range(len(CLASSES))
        },
    }


def run_of(values: Mapping[str, float | None], *, sent: int = 0) -> Results:
    evaluations = {
        Moment(stage="s", round=0, site=site): {
            "balanced_accuracy": Metric(value=value, n=10),
            "accuracy": Metric(value=0.9, n=10),
        }
        for site, value in values.items()
    }
    return Results(evaluations=evaluations, sent={Moment(stage="s", round=0, site="a"): sent})


def run_with_predictions(rng: np.random.Generator, num_patients: int, skill: float) -> Results:
    """Two sites, two images a patient; the greater the skill, the more predictions are right."""
    predictions, evaluations = {}, {}
    for site in ("a", "b"):
        labels = np.tile([0, 0, 1, 1], num_patients // 2)
        right = rng.random(len(labels)) < skill
        positive = np.where(right, labels, 1 - labels) * 0.8 + 0.1
        rows = {"loss": -np.log(positive), "probabilities": np.stack([1 - positive, positive], 1), "labels": labels}
        predictions[site] = {**rows, "patients": np.repeat(np.arange(num_patients), 2)}
        recalls = [float(right[labels == k].mean()) for k in (0, 1)]
        evaluations[Moment(stage="s", round=0, site=site)] = {
            "balanced_accuracy": Metric(value=float(np.mean(recalls)), n=len(labels)),
            "accuracy": Metric(value=float(right.mean()), n=len(labels)),
        }
    return Results(evaluations=evaluations, predictions=predictions)


def compared_by_patient(num_patients: int, *, seeds: int = 1) -> Difference:
    """An arm of skill 0.9 compared with one of 0.7."""
    rng = np.random.default_rng(3)
    arms = {
        name: [run_with_predictions(rng, num_patients, skill) for _ in range(seeds)]
        for name, skill in (("first", 0.7), ("second", 0.9))
    }
    comparison = compare_arms(arms, CARDS, metric="balanced_accuracy", seeds=range(seeds))
    assert comparison.resampled == "patients within seeds"
    difference = comparison.rows[1].difference
    assert difference is not None
    return difference


CARDS = (card("a", (3, 1), (6, 4)), card("b", (1, 3), (5, 5)))


@given(st.integers(0, 10_000), st.integers(2, 5))
def test_pooled_figures_equal_those_of_all_images_together(seed: int, num_sites: int) -> None:
    rng = np.random.default_rng(seed)
    sites = [rng.integers(0, 3, (2, rng.integers(1, 30))) for _ in range(num_sites)]
    metrics = {str(index): metrics_of(*site) for index, site in enumerate(sites)}
    labels, predicted = np.concatenate(sites, axis=1)
    assert pooled(metrics, "accuracy").value == pytest.approx((labels == predicted).mean())
    recalls = [(predicted[labels == k] == k).mean() for k in range(3) if (labels == k).any()]
    assert pooled(metrics, "balanced_accuracy").value == pytest.approx(np.mean(recalls))
    assert pooled(metrics, "balanced_accuracy").n == len(labels)


def test_pooled_auroc_is_never_made_up() -> None:
    assert pooled({"a": {"auroc": Metric(value=0.9, n=10)}}, "auroc").value is None


@given(st.integers(0, 10_000))
def test_the_site_prior_equals_guessing_image_by_image(seed: int) -> None:
    rng = np.random.default_rng(seed)
    cards, metrics = [], {}
    for site in ("a", "b", "c"):
        train, test = rng.integers(0, 9, 3), rng.integers(0, 9, 3)
        test[rng.integers(3)] += 1
        cards.append(card(site, tuple(train.tolist()), tuple(test.tolist())))
        labels = np.repeat(np.arange(3), test)
        metrics[site] = metrics_of(labels, np.full(len(labels), train.argmax()))
    guessed = site_prior(cards)
    for site, expected in metrics.items():
        for name in ("accuracy", "balanced_accuracy"):
            assert guessed[site][name].value == pytest.approx(expected[name].value)
    assert pooled(guessed, "balanced_accuracy").value == pytest.approx(pooled(metrics, "balanced_accuracy").value)


def test_differences_are_paired_by_seed() -> None:
    arms = {
        "first": [run_of({"a": 0.5, "b": 0.7}), run_of({"a": 0.8, "b": 1.0})],
        "second": [run_of({"a": 0.6, "b": 0.8}), run_of({"a": 0.9, "b": 1.0})],
    }
    first, second, prior = compare_arms(arms, CARDS, metric="balanced_accuracy", seeds=(0, 1)).rows
    assert first.difference is None
    assert first.by_seed == pytest.approx((0.6, 0.9))
    assert second.difference is not None
    assert second.difference.value == pytest.approx(0.075)
    assert (second.difference.low, second.difference.high) == pytest.approx((0.05, 0.1))
    assert (prior.arm, prior.difference) == (SITE_PRIOR, None)


def test_one_seed_gives_a_difference_without_an_interval() -> None:
    arms = {"first": [run_of({"a": 0.5})], "second": [run_of({"a": 0.75})]}
    difference = compare_arms(arms, CARDS, metric="balanced_accuracy", seeds=(0,)).rows[1].difference
    assert difference is not None
    assert (difference.value, difference.low, str(difference)) == (0.25, None, "+0.250")


def test_a_site_with_one_class_shows_its_recall_and_is_not_part_of_the_mean() -> None:
    arms = {"first": [run_of({"a": 0.5, "b": 0.7, "c": None})]}
    row = compare_arms(arms, CARDS, metric="balanced_accuracy", seeds=(0,)).rows[0]
    assert row.sites["c"].recall
    assert str(row.sites["c"]) == "recall 0.900 n=10"
    assert row.mean.value == pytest.approx(0.6)
    assert (row.mean.n, row.worst) == (20, "a")


def test_sites_without_a_figure_are_named_under_the_table() -> None:
    """Their models diverged, or were never trained: a mean over fewer sites must not pass for that of all."""
    whole, few = run_of({"a": 0.5, "b": 0.9}), run_of({"a": 0.5})
    arms = {"first": [whole, whole], "second": [whole, few], "third": [few, few]}
    comparison = compare_arms(arms, CARDS, metric="accuracy", seeds=(4, 7))
    second, first_of_third, _ = comparison.remarks
    assert "'second' with seed 7 has no figure of its last round at b" in second
    assert "'third' with seed 4" in first_of_third
    assert set(comparison.remarks) < set(notes(comparison))


def test_patients_are_not_paired_where_a_site_has_no_figure() -> None:
    """What it kept are the predictions of an earlier round."""
    whole = run_with_predictions(np.random.default_rng(2), 10, 0.8)
    few = replace(whole, evaluations={m: one for m, one in whole.evaluations.items() if m.site == "a"})
    assert compare_arms({"first": [whole]}, CARDS, metric="accuracy", seeds=(0,)).resampled == "patients within seeds"
    comparison = compare_arms({"first": [whole], "second": [few]}, CARDS, metric="accuracy", seeds=(0,))
    assert comparison.resampled == "seeds"


def test_bytes_are_averaged_over_seeds() -> None:
    arms = {"first": [run_of({"a": 0.5}, sent=100), run_of({"a": 0.5}, sent=300)]}
    assert compare_arms(arms, CARDS, metric="accuracy", seeds=(0, 1)).rows[0].bytes_sent == 200


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=8))
def test_an_interval_lies_within_the_differences_and_is_the_same_every_time(differences: list[float]) -> None:
    low, high = paired_interval(differences)
    assert low is not None
    assert high is not None
    assert min(differences) - 1e-9 <= low <= high <= max(differences) + 1e-9
    assert paired_interval(differences) == (low, high)


@given(st.integers(0, 1000), st.integers(1, 4))
def test_an_arm_does_not_differ_from_itself_whatever_is_drawn(seed: int, num_seeds: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.random((num_seeds, 50))
    assert nested_interval(values - values) == (0.0, 0.0)


def test_an_arm_compared_with_itself_by_patient_has_an_interval_of_nothing() -> None:
    rng = np.random.default_rng(1)
    runs = [run_with_predictions(rng, 12, 0.8) for _ in range(2)]
    rows = compare_arms({"first": runs, "same": runs}, CARDS, metric="balanced_accuracy", seeds=(0, 1)).rows
    assert rows[1].difference == Difference(value=0.0, low=0.0, high=0.0)


def test_more_patients_shrink_the_interval_and_one_seed_has_one() -> None:
    few, many = compared_by_patient(20), compared_by_patient(800)
    assert few.low is not None
    assert few.high is not None
    assert many.low is not None
    assert many.high is not None
    assert many.low < 0.2 < many.high
    assert many.high - many.low < (few.high - few.low) / 3


def test_there_is_no_interval_where_draws_of_patients_often_leave_a_class_out() -> None:
    """Draws that hold the one patient of a class vary less than patients do: the fewer, the surer it would seem."""
    run = run_with_predictions(np.random.default_rng(2), 30, 0.8)
    rare = {site: {**rows, "labels": (rows["patients"] == 0).astype(int)} for site, rows in run.predictions.items()}
    comparison = compare_arms(
        {"first": [replace(run, predictions=rare)]}, CARDS, metric="balanced_accuracy", seeds=(0,)
    )
    row = comparison.rows[0]
    assert row.mean.value is not None
    assert (row.mean.low, row.mean.high) == (None, None)
    assert any("No interval for first: classes have so few patients" in note for note in notes(comparison))


def test_more_seeds_on_the_same_patients_do_not_count_as_more_patients() -> None:
    rng = np.random.default_rng(0)
    same = np.tile(rng.normal(size=(1, 2000)), (5, 1))  # seeds that agree in every draw of patients
    assert nested_interval(same) == pytest.approx(nested_interval(same[:1]))


def test_the_interval_holds_the_mean_and_all_images_together_are_scored_from_predictions() -> None:
    rng = np.random.default_rng(2)
    runs = [run_with_predictions(rng, 30, 0.8) for _ in range(3)]
    row = compare_arms({"first": runs}, CARDS, metric="accuracy", seeds=(0, 1, 2)).rows[0]
    assert row.mean.low is not None
    assert row.mean.value is not None
    assert row.mean.high is not None
    assert row.mean.low < row.mean.value < row.mean.high
    assert row.pooled.value == pytest.approx(row.mean.value)  # both sites have as many images
    auroc = compare_arms({"first": runs}, CARDS, metric="auroc", seeds=(0, 1, 2)).rows[0].pooled
    assert auroc.value is not None
    assert auroc.n == 120


def test_without_predictions_of_the_same_images_only_seeds_are_resampled() -> None:
    rng = np.random.default_rng(2)
    arms = {"first": [run_with_predictions(rng, 10, 0.8)], "second": [run_with_predictions(rng, 12, 0.8)]}
    comparison = compare_arms(arms, CARDS, metric="accuracy", seeds=(0,))
    assert comparison.resampled == "seeds"
    assert "predictions of single images are not at hand" in " ".join(notes(comparison))


def test_the_table_says_what_was_equal_among_arms_and_what_was_not() -> None:
    def run(steps: int) -> Results:
        moments = [Moment(stage="s", round=round_, site=site) for round_ in range(2) for site in ("a", "b")]
        counts = {moment: steps * (1 + (moment.site == "b")) for moment in moments}
        base = run_of({"a": 0.5, "b": 0.7})
        return replace(base, steps=counts, losses=dict.fromkeys(moments, 1.0), sent=dict.fromkeys(moments, 100))

    comparison = compare_arms({"first": [run(3)], "second": [run(4)]}, CARDS, metric="accuracy", seeds=(0,))
    effort = comparison.rows[0].effort
    assert effort is not None
    assert (effort.rounds, effort.steps, effort.bytes_of_site) == (2, "6 to 12", 200)
    assert "Equal in all arms: rounds, bytes a site. Not equal: steps a site." in notes(comparison)


def test_the_gap_is_from_the_worst_site_to_the_best() -> None:
    row = compare_arms({"first": [run_of({"a": 0.5, "b": 0.7})]}, CARDS, metric="balanced_accuracy", seeds=(0,)).rows[0]
    assert row.gap == pytest.approx(0.2)


def test_an_arm_that_names_one_class_for_all_images_is_warned_about_under_the_table() -> None:
    run = run_of({"a": 0.5, "b": 0.5})
    moment = Moment(stage="s", round=0, site="b")
    collapsed = {**run.evaluations[moment], "largest_class_share": Metric(value=0.97, n=57)}
    runs = [run, replace(run, evaluations={**run.evaluations, moment: collapsed})]
    comparison = compare_arms({"first": runs}, CARDS, metric="accuracy", seeds=(0, 1))
    assert "one class at b, seed 1 (97% of n=57)" in notes(comparison)[-1]


@pytest.mark.parametrize("width", [60, 80, 120, 240])
def test_every_figure_can_be_read_on_a_narrow_screen(width: int) -> None:
    sites = {site: Figure(value=0.8125, n=70) for site in ("guangzhou", "hannover", "nih")}
    mean = Figure(value=0.775, n=210, low=0.721, high=0.833)
    row = Row(arm="scratch", sites=sites, mean=mean, by_seed=(0.775,), pooled=mean, worst="nih", gap=0.263)
    prior = row.model_copy(update={"arm": SITE_PRIOR})
    comparison = Comparison(metric="auroc", seeds=(0,), rows=(row, row.model_copy(update={"arm": "ssl_fl"}), prior))
    console = Console(width=width, file=StringIO())
    console.print(comparison_table(comparison, console))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert max(map(len, shown.splitlines())) <= width
    for word in ("0.812", "n=70", "[0.721,", "0.833]", "guangzhou", "hannover", "scratch", "ssl_fl", "0.263", "pooled"):
        assert word in shown


def test_accuracy_without_a_prompt_adds_up_over_images_too() -> None:
    sites = {
        name: {WITHOUT_PROMPT: Metric(value=value, n=n)} for name, value, n in (("north", 0.5, 2), ("river", 1.0, 6))
    }
    assert pooled(sites, WITHOUT_PROMPT).value == pytest.approx(7 / 8)
