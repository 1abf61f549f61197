"""Updates are folded in the order of the sites, whatever the order of arrival."""

from itertools import permutations

import numpy as np
import pytest

from fedward_core.update import SHARED, Update
from fedward_server.rounds.fold import OrderedFold


def update(site: str) -> Update:
    shared = {"w": np.zeros(1, np.float32)}
    return Update(site=site, round=0, parent="", num_examples=1, num_steps=1, groups={SHARED: shared})


@pytest.mark.parametrize("arrival", list(permutations("abcd")))
@pytest.mark.parametrize("gone", ["", "a", "c", "bd"])
def test_order_of_arrival_does_not_matter(arrival: tuple[str, ...], gone: str) -> None:
    folded: list[str] = []
    fold = OrderedFold("dcba", lambda u: folded.append(u.site), update)
    for site in arrival:
        fold.give_up(site) if site in gone else fold.arrive(update(site))
    assert folded == [site for site in "abcd" if site not in gone]


def test_an_update_in_its_turn_is_not_read_again() -> None:
    fetched: list[str] = []

    def fetch(site: str) -> Update:
        fetched.append(site)
        return update(site)

    fold = OrderedFold(["a", "b", "c"], lambda u: None, fetch)
    for site in ("a", "c", "b"):
        fold.arrive(update(site))
    assert fetched == ["c"]
