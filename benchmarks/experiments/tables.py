"""Tables of what was recorded: means and ranges of each arm, what of it is evidence, and which networks it is of."""

from collections.abc import Iterable, Sequence

import numpy as np

from benchmarks.experiments.trial import Row


def show(
    rows: Iterable[Row],
    figures: tuple[str, ...],
    *,
    n: int,
    chance: float,
    judged: tuple[str, ...] | None = None,
) -> None:
    """The mean and range over seeds of each arm, as a table, and which figures are no evidence.

    Args:
        rows: What was recorded.
        figures: The columns.
        n: Test images.
        chance: What guessing gets.
        judged: The accuracies among the columns that are judged; None for the first alone.
    """
    arms, judged = by_arm(rows), judged or figures[:1]
    plain = {figure: _mean(arms["untrained"], figure) if "untrained" in arms else None for figure in judged}
    print(f"\n| arm | seeds | {' | '.join(figures)} | |\n|---|---|{'---|' * (len(figures) + 1)}")
    for arm, own in arms.items():
        cells = [spread([row[figure] for row in own]) for figure in figures]
        doubts = {figure: verdict(_mean(own, figure), n=n, chance=chance, untrained=plain[figure]) for figure in judged}
        told = [f"{figure}: {doubt}" if len(judged) > 1 else doubt for figure, doubt in doubts.items() if doubt]
        print(f"| {arm} | {len(own)} | {' | '.join(cells)} | {'; '.join(told)} |")
    print(f"\nn = {n} test images, chance {chance:.3g}. Means over seeds, least and most in brackets.")


def show_networks(rows: Iterable[Row], key: str = "tower") -> None:
    """Print the first digits of the digest of every network that figures are of.

    Args:
        rows: What was recorded, with ``arm``, ``seed`` and the digest.
        key: Where the digest stands.
    """
    print("\n| network of | seed and digest |\n|---|---|")
    for arm, own in by_arm(rows).items():
        digests = (f"{row['seed']}: {row[key]}" for row in own)
        print(f"| {arm} | {', '.join(digests)} |")


def by_arm(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """The rows of each arm, in the order in which arms come."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row["arm"], []).append(row)
    return found


def spread(values: Sequence[float], form: str = ".3f") -> str:
    """The mean, with least and most in brackets."""
    least, most = min(values), max(values)
    return f"{np.mean(values):{form}} [{least:{form}}, {most:{form}}]"


def verdict(accuracy: float, *, n: int, chance: float, untrained: float | None) -> str:
    """Whether an accuracy is two standard errors above chance, and above the same network without training, if any."""
    if accuracy <= chance + 2 * (chance * (1 - chance) / n) ** 0.5:
        return "no evidence"
    if untrained is not None and accuracy <= untrained + 2 * (2 * untrained * (1 - untrained) / n) ** 0.5:
        return "no evidence over the untrained network"
    return ""


def _mean(rows: list[Row], figure: str) -> float:
    return float(np.mean([row[figure] for row in rows]))
