"""How fast are updates folded into a mean, beside a plain ``acc += w * x``?"""

import time
from collections.abc import Callable

from benchmarks.models import NUM_BYTES, weights
from benchmarks.report import Spread, print_table
from fedward_core.aggregation.config import WeightedMeanConfig
from fedward_core.arrays import Arrays
from fedward_core.manifest import Manifest
from fedward_core.update import SHARED, Update

REPEATS = 7


def main() -> None:
    """Fold the same update again and again, in turns, and print the table."""
    fold, fold_bare, update = folding(), folding_bare(), weights(0.5)
    ours, theirs = [], []
    for _ in range(REPEATS):
        ours.append(gigabytes_per_second(lambda: fold(update)))
        theirs.append(gigabytes_per_second(lambda: fold_bare(update)))
    whole, bare = Spread(tuple(ours)), Spread(tuple(theirs))
    row = ("`weighted_mean`", whole, bare, whole.over(bare))
    note = f"{REPEATS} repeats in turns, one thread, updates of {NUM_BYTES / 1e6:.0f} MB. More is better."
    print_table("Aggregation", ("aggregator", "GB/s", "`acc += w * x`, GB/s", "ratio"), [row], note)


def folding() -> Callable[[Arrays], None]:
    """Fedward's fold, after a first update."""
    mean = weights(0.0)
    aggregator = WeightedMeanConfig().build()
    aggregator.begin(Manifest.of(mean))

    def fold(arrays: Arrays) -> None:
        aggregator.add(Update(site="a", round=0, parent="", num_examples=5, num_steps=1, groups={SHARED: arrays}))

    fold(mean)
    return fold


def folding_bare() -> Callable[[Arrays], None]:
    """The plain sum."""
    total = weights(0.0)

    def fold(arrays: Arrays) -> None:
        for name, array in arrays.items():
            total[name] += 0.5 * array

    return fold


def gigabytes_per_second(fold: Callable[[], None]) -> float:
    """The speed of one fold, in bytes of the update."""
    start = time.perf_counter()
    fold()
    return NUM_BYTES / 1e9 / (time.perf_counter() - start)


if __name__ == "__main__":
    main()
