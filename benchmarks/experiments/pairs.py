"""Differences between two arms that are paired by seed.

Arms of a seed have the same images, the same initial weights and the same order of batches, so that their difference
varies less than either of them.
"""

from collections.abc import Iterable, Sequence

from benchmarks.experiments.tables import spread
from benchmarks.experiments.trial import Row
from fedward_cli.comparison.bootstrap import paired_interval

FEWEST_SEEDS = 3
"""Decided here: with fewer, too many resamples are of one seed alone."""


def differences(rows: Iterable[Row], figure: str, arm: str, other: str) -> list[float]:
    """How much an arm is ahead of another one, for every seed that both have finished."""
    found = list(rows)
    ours, theirs = ({row["seed"]: row[figure] for row in found if row["arm"] == name} for name in (arm, other))
    return [ours[seed] - theirs[seed] for seed in sorted(ours.keys() & theirs.keys())]


def show_pairs(rows: Iterable[Row], figure: str, pairs: Sequence[tuple[str, str]]) -> None:
    """Print a table of paired differences; pairs that have no seed in common are left out.

    Args:
        rows: What was recorded, with ``arm``, ``seed`` and the figure.
        figure: Which figure.
        pairs: Arms, each with the one that it is set against.
    """
    found = list(rows)
    known = [(arm, other, values) for arm, other in pairs if (values := differences(found, figure, arm, other))]
    if known:
        print(f"\n| {figure} | seeds | difference | 95 % interval | |\n|---|---|---|---|---|")
        for arm, other, values in known:
            cells = f"{len(values)} | {spread(values, '+.3f')} | {_interval(values)} | {doubt(values)}"
            print(f"| {arm} over {other} | {cells} |")
        print("\nPaired by seed. Means, least and most in brackets; intervals resample seeds.")


def doubt(values: Sequence[float]) -> str:
    """Why paired differences are no evidence; nothing where they are."""
    if len(values) < FEWEST_SEEDS:
        return f"no evidence: fewer than {FEWEST_SEEDS} seeds"
    low, high = paired_interval(values)
    assert low is not None
    assert high is not None
    return "no evidence" if low <= 0 <= high else ""


def _interval(values: Sequence[float]) -> str:
    low, high = paired_interval(values)
    return "none" if low is None else f"{low:+.3f} to {high:+.3f}"
