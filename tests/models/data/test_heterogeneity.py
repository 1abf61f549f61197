"""How sites differ, and what the report keeps to itself."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedward_core.arrays import Array
from fedward_core.errors import DataError
from fedward_core.spec import Dataset
from fedward_models.data.inspection.heterogeneity import compare_sites, total_variation, wasserstein

Writer = Callable[..., Path]
SPLIT = np.full(24, "train")


def shares(weights: list[int]) -> Array:
    counts = np.array(weights, dtype=float) + 1e-9
    return np.asarray(counts / counts.sum())


three = st.lists(st.integers(0, 20), min_size=6, max_size=6).map(shares)


@given(three, three, three)
def test_both_distances_are_distances(first: Array, second: Array, third: Array) -> None:
    for distance in (total_variation, wasserstein):
        assert distance(first, first) == 0
        assert distance(first, second) == pytest.approx(distance(second, first))
        assert -1e-12 <= distance(first, second) <= 1 + 1e-12
        assert distance(first, third) <= distance(first, second) + distance(second, third) + 1e-9


@given(st.lists(st.integers(0, 9), min_size=8, max_size=8), st.lists(st.integers(0, 9), min_size=8, max_size=8))
def test_the_way_of_levels_is_that_between_sorted_pixels(first: list[int], second: list[int]) -> None:
    """The slow, obvious twin: sort both sites' pixels and pair them off."""
    histograms = [np.bincount(pixels, minlength=10) / 8 for pixels in (first, second)]
    pairs = np.abs(np.sort(first) - np.sort(second)).mean() / 9
    assert wasserstein(*histograms) == pytest.approx(pairs)


@pytest.mark.parametrize(("first", "second", "expected"), [([1, 0], [0, 1], 1.0), ([1, 1], [3, 1], 0.25)])
def test_classes_differ_by_half_the_sum_of_shares(first: list[int], second: list[int], expected: float) -> None:
    assert total_variation(shares(first), shares(second)) == pytest.approx(expected)


def test_alike_sites_are_told_to_begin_plainly(write_site: Writer, dataset: Dataset) -> None:
    for site in ("north", "river"):
        data = write_site(site, split=SPLIT)
    found = compare_sites(data, dataset)
    assert found.sites == ("north", "river")
    assert found.class_counts == ((8, 8, 8), (8, 8, 8))
    assert not found.class_distances.any()
    assert not found.intensity_distances.any()
    assert [advice.advice for advice in found.advice] == ["begin with plain averaging (weighted_mean)"]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"labels": np.array([0] * 14 + [1] * 5 + [2] * 5)}, "keep heads private"),
        ({"images": np.random.default_rng(0).integers(100, 256, (24, 8, 8), dtype=np.uint8)}, "fedbn"),
        ({"labels": np.array([0] * 12 + [1] * 12)}, "judge each site by its own figures"),
    ],
)
def test_a_difference_is_told_with_its_reason(
    write_site: Writer, dataset: Dataset, changes: dict[str, Any], expected: str
) -> None:
    write_site("north", split=SPLIT, labels=np.array([2] * 14 + [1] * 5 + [0] * 5))
    data = write_site("river", **{"split": SPLIT, "labels": np.array([2] * 14 + [1] * 5 + [0] * 5), **changes})
    advice = compare_sites(data, dataset).advice
    assert expected in " ".join(entry.advice for entry in advice)
    assert all(any(character.isdigit() for character in entry.reason) for entry in advice)


def test_a_site_without_training_images_hides_no_difference_between_others(
    write_site: Writer, dataset: Dataset
) -> None:
    bright = np.random.default_rng(0).integers(100, 256, (24, 8, 8), dtype=np.uint8)
    for site, changes in (("north", {}), ("river", {"images": bright}), ("south", {"split": np.full(24, "test")})):
        data = write_site(site, **{"split": SPLIT, **changes})
    found = compare_sites(data, dataset)
    assert np.isnan(found.intensity_distances[2]).all()
    assert "fedbn" in " ".join(entry.advice for entry in found.advice)


def test_a_much_larger_site_is_told(write_site: Writer, dataset: Dataset) -> None:
    write_site("north", split=np.array(["train"] * 2 + ["test"] * 22))
    data = write_site("river", split=SPLIT)
    assert "more than 10 times" in " ".join(entry.reason for entry in compare_sites(data, dataset).advice)


def test_small_counts_are_hidden(write_site: Writer, dataset: Dataset) -> None:
    write_site("north", split=SPLIT, labels=np.array([0] * 20 + [1] * 4))
    data = write_site("river", split=np.array(["train"] * 4 + ["test"] * 20))
    found = compare_sites(data, dataset)
    assert found.class_counts == ((20, None, None), (None, None, None))
    assert found.num_images == (20, None)
    assert np.isnan(found.class_distances[1]).all()


def test_hidden_counts_are_not_found_by_subtraction(write_site: Writer, dataset: Dataset) -> None:
    """Other hidden counts, and the same report."""
    found = []
    for few in (1, 3):
        labels = np.array([0] * (17 - few) + [1] * 5 + [2] * few + [0] * 2)
        write_site("north", split=SPLIT, labels=np.sort(labels))
        found.append(compare_sites(write_site("river", split=SPLIT, labels=np.arange(24) % 2), dataset))
    assert [report.class_counts[0][2] for report in found] == [None, None]
    for report in found:
        shown = [count or 0 for count in report.class_counts[0]]
        expected = total_variation(shares(shown), shares([12, 12, 0]))
        assert report.class_distances[0, 1] == pytest.approx(expected, abs=1e-6)
        assert report.num_images[0] == 20


def test_unlabelled_sites_are_compared_by_intensity(write_site: Writer, dataset: Dataset) -> None:
    write_site("north", split=SPLIT, labels=None)
    found = compare_sites(write_site("river", split=SPLIT, labels=None), dataset)
    assert not found.classes
    assert not found.class_counts
    assert found.intensity_distances.shape == (2, 2)


def test_one_site_is_compared_with_nothing(write_site: Writer, dataset: Dataset) -> None:
    with pytest.raises(DataError, match="one site has nothing to be compared with"):
        compare_sites(write_site(), dataset)


def test_sites_of_other_classes_are_not_compared(write_site: Writer, unnamed: Dataset) -> None:
    write_site("north", classes=np.array(["a", "b", "c"]))
    with pytest.raises(DataError, match="'north' and 'river' name different classes"):
        compare_sites(write_site("river", classes=np.array(["a", "b", "d"])), unnamed)


def test_a_shown_number_of_images_is_never_rounded_to_none(write_site: Writer, dataset: Dataset) -> None:
    sizes = {"north": 5, "river": 14, "hill": 15}
    for site, size in sizes.items():
        data = write_site(
            site, split=np.array(["train"] * size + ["test"] * (24 - size)), patient=np.arange(24).astype(str)
        )
    found = compare_sites(data, dataset)
    assert dict(zip(found.sites, found.num_images, strict=True)) == {"hill": 20, "north": 10, "river": 10}
