"""Label skew by a Dirichlet distribution: a hundred is nearly even, a half is severe.

Source: Yan et al., "Label-Efficient Self-Supervised Federated Learning for Tackling Data Heterogeneity in Medical
Imaging", IEEE TMI 2023, https://arxiv.org/abs/2205.08576. Its splits use the seed 2022, five sites, and 100, 1 and 0.5.
Differs: draws come from numpy's ``default_rng``, not from its old global generator, so that parts are not those of the
authors' files.
"""

import numpy as np

from fedward_core.arrays import Array
from fedward_core.errors import DataError

MAX_TRIES = 10_000  # decided here: the paper's code tries for ever


def dirichlet_split(labels: Array, num_sites: int, alpha: float, seed: int, minimum: int = 10) -> list[Array]:
    """Deal labelled images to sites.

    For each class, its shuffled images are cut in proportions drawn from Dir(alpha). A site that already holds its even
    share of all images gets no more, so that sites stay near one size and the skew is one of labels. All starts anew
    until every site has ``minimum`` images.

    Args:
        labels: (N,) class numbers.
        num_sites: How many sites.
        alpha: Above 0; the smaller, the fewer classes at each site.
        seed: Every draw.
        minimum: Images of each site, at least.

    Returns:
        For each site, its indices, shuffled. Together they are all indices, once.

    Raises:
        DataError: There are too few images for so many sites, or the skew leaves a site with too few in every try.
    """
    if alpha <= 0:
        raise DataError(f"alpha is {alpha}, expected a number above 0")
    if len(labels) < num_sites * minimum:
        raise DataError(
            f"{len(labels)} images are too few for {num_sites} sites of at least {minimum}: ask for fewer sites"
        )
    rng = np.random.default_rng(seed)
    for _ in range(MAX_TRIES):
        parts = _deal(labels, num_sites, alpha, rng)
        if min(map(len, parts)) >= minimum:
            return [rng.permutation(part) for part in parts]
    raise DataError(
        f"{MAX_TRIES} draws with alpha {alpha} left one of {num_sites} sites with fewer than {minimum} images: ask for "
        "a larger alpha, or for fewer sites"
    )


def _deal(labels: Array, num_sites: int, alpha: float, rng: np.random.Generator) -> list[Array]:
    parts: list[Array] = [np.empty(0, dtype=np.int64)] * num_sites
    for number in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == number))
        has_room = np.array([len(part) < len(labels) / num_sites for part in parts])
        ends = np.cumsum(_proportions(rng, alpha, has_room))
        # Over the last end, not over another sum: rounding must not leave an image to a last site that is full.
        cuts = (ends / ends[-1] * len(members)).astype(np.int64)[:-1]
        parts = [np.concatenate([part, share]) for part, share in zip(parts, np.split(members, cuts), strict=True)]
    return parts


def _proportions(rng: np.random.Generator, alpha: float, has_room: Array) -> Array:
    proportions = rng.dirichlet([alpha] * len(has_room)) * has_room
    while not proportions.any():  # with a tiny alpha, all may fall to sites that are full
        proportions = rng.dirichlet([alpha] * len(has_room)) * has_room
    return proportions
