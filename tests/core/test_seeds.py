"""Seeds depend on all that they are derived from, and on nothing else."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fedward_core.seeds import derive_seed, generator

PARTS = st.lists(st.one_of(st.integers(0, 10**6), st.text("ab:1", max_size=5)), max_size=4).map(tuple)


@given(seed=st.integers(0, 2**40), parts=PARTS)
def test_a_seed_is_repeatable_and_fits_numpy_and_torch(seed: int, parts: tuple[str | int, ...]) -> None:
    assert derive_seed(seed, *parts) == derive_seed(seed, *parts)
    assert 0 <= derive_seed(seed, *parts) < 2**63


@given(seed=st.integers(0, 100), one=PARTS, other=PARTS)
def test_other_parts_give_another_seed(seed: int, one: tuple[str | int, ...], other: tuple[str | int, ...]) -> None:
    assert (derive_seed(seed, *one) == derive_seed(seed, *other)) == (one == other)


def test_order_type_and_nesting_of_parts_count() -> None:
    seeds = {
        derive_seed(1, "a", "b"),
        derive_seed(1, "b", "a"),
        derive_seed(1, "ab"),
        derive_seed(1, "a", "b", ""),
        derive_seed(1, 1),
        derive_seed(1, "1"),
        derive_seed(2, "a", "b"),
    }
    assert len(seeds) == 7


def test_seeds_stay_the_same_from_release_to_release() -> None:
    assert derive_seed(2022, "north", "pretrain", 3, "shuffle") == 577496861396159847


def test_a_generator_starts_from_the_derived_seed() -> None:
    drawn = generator(5, "north", 2).random(4)
    assert drawn.tolist() == np.random.default_rng(derive_seed(5, "north", 2)).random(4).tolist()
