"""Hiding blocks of patches: budgets, and what a mask looks like."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedward_models.layers.block_masking import hide_blocks, mask_budget

# SSL-FL, Sec. 2.4: the budget of a grid of 14 x 14.
PUBLISHED = {0.3: 60, 0.4: 80, 0.5: 100, 0.6: 120, 0.7: 135, 0.75: 145}
# SSL-FL, Sec. 2.5, from 2000 draws each: the mean number of hidden patches.
MEANS = {60: 59.5, 80: 79.5, 100: 99.5, 120: 119.6}


@pytest.mark.parametrize(("ratio", "budget"), PUBLISHED.items())
def test_budgets_are_the_published_ones(ratio: float, budget: int) -> None:
    assert mask_budget(196, mask_ratio=ratio) == budget


def test_a_small_grid_has_a_budget_of_single_patches() -> None:
    assert mask_budget(16, mask_ratio=0.4) == 6


@given(side=st.integers(2, 16), part=st.floats(0.05, 0.95), seed=st.integers(0, 99))
def test_the_budget_is_never_exceeded(side: int, part: float, seed: int) -> None:
    budget = max(int(part * side**2), 1)
    hidden = hide_blocks(side, budget=budget, rng=np.random.default_rng(seed))
    assert hidden.shape == (side, side)
    assert hidden.sum() <= budget


@pytest.mark.parametrize("budget", MEANS)
def test_counts_differ_from_mask_to_mask_and_have_the_published_mean(budget: int) -> None:
    rng = np.random.default_rng(3)
    counts = np.array([hide_blocks(14, budget=budget, rng=rng).sum() for _ in range(300)])
    assert counts.mean() == pytest.approx(MEANS[budget], abs=0.5)
    assert 0.55 < (counts == budget).mean() < 0.85
    assert counts.min() < budget == counts.max()


def test_hidden_patches_lie_together() -> None:
    """More of a hidden patch's neighbours are hidden than if patches were drawn one by one."""
    rng = np.random.default_rng(0)
    masks = np.stack([hide_blocks(14, budget=60, rng=rng) for _ in range(100)])
    pairs = (masks[:, :, 1:] & masks[:, :, :-1]).mean() / masks.mean()
    assert pairs > 2 * masks.mean()


def test_blocks_lie_as_often_as_they_stand() -> None:
    """The aspect is uniform in its logarithm, so hidden patches have as many neighbours beside as above them."""
    rng = np.random.default_rng(0)
    masks = np.stack([hide_blocks(14, budget=60, rng=rng) for _ in range(300)])
    beside = (masks[:, :, 1:] & masks[:, :, :-1]).sum()
    above = (masks[:, 1:] & masks[:, :-1]).sum()
    assert beside / above == pytest.approx(1, abs=0.03)


def test_a_seed_repeats_a_mask_and_another_does_not() -> None:
    first, again, other = (hide_blocks(14, budget=80, rng=np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()
