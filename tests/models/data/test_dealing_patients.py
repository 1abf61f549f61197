"""Laws of dealing patients to splits, parts and subsets."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedward_core.arrays import Array
from fedward_core.cards import Split
from fedward_core.seeds import derive_seed
from fedward_models.data.splitting.splits import CYCLE, choose_fraction, deal_parts, deal_splits


@st.composite
def sites(draw: st.DrawFn) -> tuple[Array, Array]:
    """Patients and classes of the images of a site."""
    count, num_classes = draw(st.integers(1, 80)), draw(st.integers(0, 4))
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    patients = np.array([f"p{number}" for number in rng.integers(0, draw(st.integers(1, 60)), count)])
    return patients, rng.random((count, num_classes)) < draw(st.floats(0, 1))


seeds = st.integers(0, 1000)


@given(site=sites(), seed=seeds)
def test_no_patient_is_in_two_splits(site: tuple[Array, Array], seed: int) -> None:
    patients, classes = site
    splits = deal_splits(patients, classes, seed)
    assert len(set(zip(patients, splits, strict=True))) == len(set(patients))


@given(site=sites(), seed=seeds)
def test_each_image_is_in_a_split_that_exists(site: tuple[Array, Array], seed: int) -> None:
    assert set(deal_splits(*site, seed)) <= set(Split)


@given(site=sites(), seed=seeds)
def test_every_class_is_trained_on(site: tuple[Array, Array], seed: int) -> None:
    patients, classes = site
    rarest_first = classes[:, :1]  # with one class, its stratum is the class
    splits = deal_splits(patients, rarest_first, seed)
    assert not rarest_first.any() or rarest_first[splits == Split.TRAIN].any()


@given(site=sites(), seed=seeds)
def test_the_same_seed_deals_the_same(site: tuple[Array, Array], seed: int) -> None:
    assert (deal_splits(*site, seed) == deal_splits(*site, seed)).all()


def test_another_seed_deals_otherwise() -> None:
    patients, classes = np.arange(60), np.ones((60, 1), dtype=bool)
    assert (deal_splits(patients, classes, 0) != deal_splits(patients, classes, 1)).any()


def test_twenty_patients_of_a_class_are_dealt_fourteen_three_three() -> None:
    labels = np.repeat(np.arange(3), 20)
    splits = deal_splits(np.arange(60), labels[:, None] == np.arange(3), 0)
    for number in range(3):
        dealt = splits[labels == number].tolist()
        assert [dealt.count(split) for split in Split] == [14, 3, 3]
    assert [CYCLE.count(split) for split in Split] == [14, 3, 3]


def test_who_is_tested_stays_the_same_from_release_to_release() -> None:
    """Else a model would be tested on patients that it was trained on before an update."""
    patients, labels = np.array([f"p{number:02}" for number in range(20)]), np.repeat(np.arange(2), 10)
    classes = labels[:, None] == np.arange(2)
    splits = deal_splits(patients, classes, derive_seed(0, "chest", "north", "splits"))
    assert np.flatnonzero(splits == Split.TEST).tolist() == [4, 9, 16, 18]
    assert np.flatnonzero(splits == Split.VALIDATION).tolist() == [5, 12]
    assert choose_fraction(patients, classes, 0.3, seed=7).tolist() == [1, 3, 8, 12, 13, 15]


def test_three_patients_are_enough_to_test() -> None:
    assert sorted(deal_splits(np.arange(3), np.ones((3, 1), dtype=bool), 0)) == ["test", "train", "train"]


@given(site=sites(), fraction=st.floats(0.01, 1), seed=seeds)
def test_a_subset_takes_whole_patients(site: tuple[Array, Array], fraction: float, seed: int) -> None:
    patients, classes = site
    chosen = choose_fraction(patients, classes, fraction, seed)
    left = np.setdiff1d(np.arange(len(patients)), chosen)
    assert not set(patients[chosen]) & set(patients[left])


@given(site=sites(), fraction=st.floats(0.01, 1), seed=seeds)
def test_a_subset_has_every_class_that_is_present(site: tuple[Array, Array], fraction: float, seed: int) -> None:
    patients, classes = site
    chosen = choose_fraction(patients, classes, fraction, seed)
    assert (classes[chosen].any(axis=0) == classes.any(axis=0)).all()


@given(site=sites(), fractions=st.tuples(st.floats(0.01, 1), st.floats(0.01, 1)), seed=seeds)
def test_a_smaller_subset_lies_in_a_larger_one(
    site: tuple[Array, Array], fractions: tuple[float, float], seed: int
) -> None:
    smaller, larger = (choose_fraction(*site, fraction, seed) for fraction in sorted(fractions))
    assert set(smaller) <= set(larger)


@given(site=sites(), seed=seeds)
def test_the_whole_is_a_subset_of_all(site: tuple[Array, Array], seed: int) -> None:
    assert choose_fraction(*site, 1.0, seed).tolist() == list(range(len(site[0])))


@pytest.mark.parametrize("fraction", [0.1, 0.3, 0.5])
def test_a_subset_keeps_the_shares_of_the_classes(fraction: float) -> None:
    labels = np.repeat(np.arange(3), [100, 50, 20])
    chosen = choose_fraction(np.arange(170), labels[:, None] == np.arange(3), fraction, seed=4)
    assert np.bincount(labels[chosen]).tolist() == [100 * fraction, 50 * fraction, 20 * fraction]


@given(site=sites(), parts=st.integers(1, 6), seed=seeds)
def test_no_patient_is_in_two_parts(site: tuple[Array, Array], parts: int, seed: int) -> None:
    patients, classes = site
    dealt = deal_parts(patients, classes, parts, seed)
    assert len(set(zip(patients, dealt, strict=True))) == len(set(patients))


@given(site=sites(), parts=st.integers(1, 6), seed=seeds)
def test_parts_differ_by_one_patient_at_most(site: tuple[Array, Array], parts: int, seed: int) -> None:
    patients, classes = site
    dealt = deal_parts(patients, classes, parts, seed)
    sizes = [len(set(patients[dealt == part])) for part in range(parts)]
    assert max(sizes) - min(sizes) <= 1
