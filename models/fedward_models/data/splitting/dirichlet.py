"""Label skew by a Dirichlet distribution: a hundred is nearly even, a half is severe.

Source: Yan et al., "Label-Efficient Self-Supervised Federated Learning for Tackling Data Heterogeneity in Medical
Imaging", IEEE TMI 2023, https://arxiv.org/abs/2205.08576. Its splits use the seed 2022, five sites, and 100, 1 and 0.5.
Differs: draws come from numpy's ``default_rng``, not from its old global generator, so that parts are not those of the
authors' files; and where a file has splits already, all of them are dealt together, so that a site's test images are as
skewed as what it trains on. The authors deal training images only, and test on images of all sites.
"""

import numpy as np

from fedward_core.arrays import Array
from fedward_core.cards import Split
from fedward_core.errors import DataError

SEED = 2022
MAX_TRIES = 10_000  # decided here: the paper's code tries for ever
MOST_ALPHA = 1e6  # decided here: even to a thousandth, and far below where draws lose their numbers


def dirichlet_split(  # noqa: PLR0913 - what is dealt, to whom, and how
    labels: Array, num_sites: int, alpha: float, seed: int, *, minimum: int = 10, splits: Array | None = None
) -> list[Array]:
    """Deal labelled images to sites.

    For each class, its shuffled images are cut in proportions drawn from Dir(alpha). A site that already holds its even
    share of all images gets no more, so that sites stay near one size and the skew is one of labels. All starts anew
    until every site has ``minimum`` images to train on, and one of each other split.

    Args:
        labels: (N,) class numbers.
        num_sites: How many sites.
        alpha: Above 0, up to a million; the smaller, the fewer classes at each site.
        seed: Every draw.
        minimum: Training images of each site, at least.
        splits: (N,) names such as ``train``; without them all images are for training.

    Returns:
        For each site, its indices, shuffled. Together they are all indices, once.

    Raises:
        DataError: There are too few images for so many sites, or the skew leaves a site with too few in every try.
    """
    if not 0 < alpha <= MOST_ALPHA:
        raise DataError(f"alpha is {alpha}, expected a number above 0, and at most {MOST_ALPHA:,.0f}")
    if num_sites < 1:
        raise DataError(f"expected one site or more, found {num_sites}")
    splits = np.full(len(labels), Split.TRAIN) if splits is None else splits
    least = {str(split): minimum if split == Split.TRAIN else 1 for split in np.unique(splits)}
    for split, count in least.items():
        if (found := int((splits == split).sum())) < num_sites * count:
            raise DataError(
                f"{found} images of the split '{split}' are too few for {num_sites} sites of at least {count}: ask for "
                "fewer sites"
            )
    rng = np.random.default_rng(seed)
    for _ in range(MAX_TRIES):
        parts = _deal(labels, num_sites, alpha, rng)
        if all((splits[part] == split).sum() >= count for part in parts for split, count in least.items()):
            return [rng.permutation(part) for part in parts]
    told = " or ".join(f"{count} of the split '{split}'" for split, count in least.items())
    raise DataError(
        f"{MAX_TRIES} draws with alpha {alpha} left one of {num_sites} sites with fewer images than {told}: ask for a "
        "larger alpha, or for fewer sites"
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
