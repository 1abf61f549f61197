"""Label skew by shards: every site has a few classes only, and is tested on the same ones.

Source: P. P. Liang et al., "Think Locally, Act Globally: Federated Learning with Local and Global Representations",
2020, arXiv:2001.01523, released code, after McMahan et al., AISTATS 2017. Every class is cut into equal shards, and a
shuffled list with one entry for each shard deals them to the sites: a class may come twice to a site.
"""

import numpy as np

from fedward_core.arrays import Array
from fedward_core.errors import DataError


def shard_split(labels: tuple[Array, ...], num_sites: int, shards_per_site: int, seed: int) -> list[tuple[Array, ...]]:
    """Deal labelled images to sites, several sets of them by one list of classes.

    Args:
        labels: The class numbers of each set, e.g. of training and of test images; all have the same classes.
        num_sites: How many sites.
        shards_per_site: The most classes of a site.
        seed: Every draw.

    Returns:
        For each site, its indices in each set. Over the sites they are all indices of a set, once.

    Raises:
        DataError: The shards are no equal number for each class, or a class has too few images for its shards.
    """
    classes = np.unique(labels[0])
    per_class, left = divmod(num_sites * shards_per_site, len(classes))
    if left or not per_class:
        raise DataError(
            f"{num_sites} sites of {shards_per_site} shards give no equal number of shards to {len(classes)} classes: "
            "choose numbers whose product is a multiple of the classes"
        )
    rng = np.random.default_rng(seed)
    dealt = rng.permutation(np.repeat(classes, per_class)).reshape(num_sites, shards_per_site)
    parts = [_deal(each, dealt, per_class, rng) for each in labels]
    return list(zip(*parts, strict=True))


def _deal(labels: Array, dealt: Array, per_class: int, rng: np.random.Generator) -> list[Array]:
    """Each site's indices in one set, shuffled."""
    shards = {number: _shards(labels, number, per_class, rng) for number in np.unique(dealt)}
    return [rng.permutation(np.concatenate([shards[number].pop() for number in classes])) for classes in dealt]


def _shards(labels: Array, number: int, count: int, rng: np.random.Generator) -> list[Array]:
    members = rng.permutation(np.flatnonzero(labels == number))
    if len(members) < count:
        raise DataError(f"class {number} has {len(members)} images, too few for {count} shards: ask for fewer sites")
    return np.array_split(members, count)
