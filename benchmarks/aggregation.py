"""How fast are updates folded into a mean, beside a plain ``acc += w * x``?"""

import time
from collections.abc import Callable
from functools import partial

from benchmarks.models import NUM_BYTES, weights
from benchmarks.report import in_turns, print_table
from fedward_core.aggregation.config import WeightedMeanConfig
from fedward_core.arrays import Arrays
from fedward_core.manifest import Manifest
from fedward_core.update import SHARED, Update

REPEATS = 7


def main() -> None:
    """Fold the same update again and again, in turns, and print the table."""
    update = weights(0.5)
    folds = {"ours": folding(), "bare": folding_bare()}
    seen = in_turns({case: partial(gigabytes_per_second, fold, update) for case, fold in folds.items()}, REPEATS)
    row = ("`weighted_mean`", *seen["ours"].beside(seen["bare"]))
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


def gigabytes_per_second(fold: Callable[[Arrays], None], update: Arrays) -> float:
    """The speed of one fold, in bytes of the update."""
    start = time.perf_counter()
    fold(update)
    return NUM_BYTES / 1e9 / (time.perf_counter() - start)


if __name__ == "__main__":
    main()
