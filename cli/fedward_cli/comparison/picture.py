"""The figures of all arms beside each other, drawn into a file."""

import math
import textwrap
from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from fedward_cli.comparison.comparison import Comparison
from fedward_cli.comparison.row import Row
from fedward_cli.display.palette import palette
from fedward_cli.display.tables import words

_LETTERS = 14  # of a site's name on one line below its bars


def draw_comparison(comparison: Comparison, path: Path) -> None:
    """Draw the figure of every arm at every site, and their mean, as bars.

    On the mean stand a dot for each seed and a line for the interval, where there is one. A site of which only the
    recall of one class is known has no bar.
    """
    places = (*comparison.sites, "mean of sites")
    figure = Figure(figsize=(2.5 + 1.6 * len(places), 4), layout="constrained")
    axes = figure.subplots()
    axes.set_prop_cycle(color=palette(len(comparison.rows)))
    width = 0.8 / len(comparison.rows)
    for index, row in enumerate(comparison.rows):
        left = [position + index * width for position in range(len(places))]
        axes.bar(left, heights(row, comparison.sites), width=width, label=row.arm, align="edge")
        seeds = [value for value in row.by_seed if value is not None]
        middle = left[-1] + width / 2
        axes.plot([middle] * len(seeds), seeds, "k.", markersize=3)
        if row.mean.low is not None and row.mean.high is not None:
            axes.vlines(middle, row.mean.low, row.mean.high, colors="k", linewidth=1)
    names = [textwrap.fill(place, _LETTERS) for place in places]
    axes.set_xticks([position + 0.4 for position in range(len(places))], names)
    axes.set_ylabel(words(comparison.metric))
    axes.set_ylim(0, 1)
    figure.legend(loc="outside right upper", fontsize=7)
    figure.savefig(path, dpi=120)


def heights(row: Row, sites: Sequence[str]) -> list[float]:
    """How high the bars of an arm are, at each site and for the mean; NaN where the figure is not defined."""
    figures = [*(row.sites.get(site) for site in sites), row.mean]
    return [math.nan if each is None or each.value is None or each.recall else each.value for each in figures]
