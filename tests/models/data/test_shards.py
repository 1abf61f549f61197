"""Label skew by shards: what each site gets, and that nothing is lost."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedward_core.errors import DataError
from fedward_models.data.splitting.shards import shard_split


def labels(classes: int, images: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).permutation(np.repeat(np.arange(classes), images))


@given(
    classes=st.integers(2, 5),
    sites_per_class=st.integers(1, 4),
    shards=st.sampled_from([1, 2]),
    seed=st.integers(0, 99),
)
def test_sites_have_few_classes_the_test_images_have_the_same_and_none_is_lost(
    classes: int, sites_per_class: int, shards: int, seed: int
) -> None:
    train, test = labels(classes, 40), labels(classes, 9, seed=1)
    parts = shard_split((train, test), classes * sites_per_class, shards, seed)
    for ours, theirs in parts:
        assert set(test[theirs]) <= set(train[ours])
        assert len(set(train[ours])) <= shards
    for each, position in ((train, 0), (test, 1)):
        together = np.concatenate([part[position] for part in parts])
        assert np.array_equal(np.sort(together), np.arange(len(each)))


def test_shards_of_a_class_are_of_one_size() -> None:
    parts = shard_split((labels(10, 500),), 100, 2, seed=0)
    assert {len(part) for (part,) in parts} == {50}


def test_the_seed_decides_alone() -> None:
    first, again, other = (shard_split((labels(4, 30),), 8, 2, seed) for seed in (1, 1, 2))
    assert all(np.array_equal(one, two) for (one,), (two,) in zip(first, again, strict=True))
    assert any(not np.array_equal(one, two) for (one,), (two,) in zip(first, other, strict=True))


@pytest.mark.parametrize(
    ("classes", "images", "sites", "shards", "message"),
    [(10, 50, 7, 1, "no equal number"), (10, 50, 3, 1, "no equal number"), (2, 3, 8, 1, "too few for 4 shards")],
)
def test_numbers_that_do_not_fit_are_refused(classes: int, images: int, sites: int, shards: int, message: str) -> None:
    with pytest.raises(DataError, match=message):
        shard_split((labels(classes, images),), sites, shards, seed=0)
