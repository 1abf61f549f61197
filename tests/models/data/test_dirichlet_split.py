"""Label skew by a Dirichlet distribution."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedward_core.arrays import Array
from fedward_core.errors import DataError
from fedward_models.data.splitting.dirichlet import dirichlet_split

LABELS = np.arange(1500) % 3


def total_variation(parts: list[Array], labels: Array) -> float:
    """The mean distance of a site's class shares from those of all."""
    shares = np.bincount(labels) / len(labels)
    distances = [
        0.5 * np.abs(np.bincount(labels[part], minlength=len(shares)) / len(part) - shares).sum() for part in parts
    ]
    return float(np.mean(distances))


@settings(max_examples=30, deadline=None)
@given(
    num_classes=st.integers(1, 5), num_sites=st.integers(1, 5), alpha=st.floats(0.3, 100), seed=st.integers(0, 10_000)
)
def test_parts_are_all_images_once_and_large_enough(num_classes: int, num_sites: int, alpha: float, seed: int) -> None:
    labels = np.arange(400) % num_classes
    parts = dirichlet_split(labels, num_sites, alpha, seed)
    assert np.sort(np.concatenate(parts)).tolist() == list(range(400))
    assert min(map(len, parts)) >= 10


def test_the_same_seed_gives_the_same_parts() -> None:
    once, again = (dirichlet_split(LABELS, 5, 0.5, 2022) for _ in range(2))
    assert all((first == second).all() for first, second in zip(once, again, strict=True))


def test_the_skew_grows_as_alpha_falls() -> None:
    means = [
        np.mean([total_variation(dirichlet_split(LABELS, 5, alpha, seed), LABELS) for seed in range(2022, 2032)])
        for alpha in (100.0, 1.0, 0.5)
    ]
    assert means[0] < 0.1 < means[1] < means[2]


def test_a_full_site_gets_nothing_of_the_next_class() -> None:
    """The cap: once a site holds its even share, later classes pass it by."""
    labels = np.repeat(np.arange(10), 60)
    for seed in range(20):
        parts = dirichlet_split(labels, 3, 0.5, seed)
        for part in parts:
            counts = np.bincount(labels[part], minlength=10)
            full = np.flatnonzero(np.cumsum(counts) >= 200)
            assert not full.size or counts[full[0] + 1 :].sum() == 0


def test_parts_are_shuffled() -> None:
    assert all((np.diff(LABELS[part]) < 0).any() for part in dirichlet_split(LABELS, 5, 1.0, 2022))


def test_every_site_can_train_and_be_evaluated_where_images_have_splits() -> None:
    labels = np.arange(200) % 3
    splits = np.random.default_rng(0).choice(["train", "val", "test"], 200, p=[0.7, 0.15, 0.15])
    for seed in range(100):
        for part in dirichlet_split(labels, 5, 0.5, seed, splits=splits):
            counts = {split: int((splits[part] == split).sum()) for split in ("train", "val", "test")}
            assert counts["train"] >= 10
            assert min(counts.values()) >= 1


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        (["train"] * 49 + ["test"] * 51, "49 images of the split 'train' are too few for 5 sites of at least 10"),
        (["train"] * 96 + ["test"] * 4, "4 images of the split 'test' are too few for 5 sites of at least 1"),
    ],
)
def test_too_few_images_are_refused_rather_than_tried_for_ever(splits: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        dirichlet_split(np.zeros(100, dtype=np.int64), 5, 1.0, 2022, splits=np.array(splits))


def test_a_skew_without_solution_ends() -> None:
    message = r"10000 draws with alpha 0\.001 left one of 3 sites with fewer images than 20 of the split 'train'"
    with pytest.raises(DataError, match=message):
        dirichlet_split(np.zeros(60, dtype=np.int64), 3, 0.001, 2022, minimum=20)


@pytest.mark.parametrize("alpha", [0.0, -1.0, 1e308, float("inf"), float("nan")])
def test_an_alpha_that_is_no_concentration_is_refused(alpha: float) -> None:
    with pytest.raises(DataError, match="expected a number above 0, and at most 1,000,000"):
        dirichlet_split(LABELS, 3, alpha, 2022)


def test_no_site_at_all_is_refused() -> None:
    with pytest.raises(DataError, match="expected one site or more, found 0"):
        dirichlet_split(LABELS, 0, 1.0, 2022)
