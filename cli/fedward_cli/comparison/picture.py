"""The figures of all arms beside each other, drawn into a file."""

from pathlib import Path

from matplotlib import colormaps
from matplotlib.figure import Figure

from fedward_cli.comparison.comparison import Comparison
from fedward_cli.display.tables import words


def draw_comparison(comparison: Comparison, path: Path) -> None:
    """Draw the figure of every arm at every site, and their mean, as bars.

    On the mean stand a dot for each seed and a line for the interval, where there is one.
    """
    places = (*comparison.sites, "mean")
    figure = Figure(figsize=(2.5 + 1.6 * len(places), 4), layout="constrained")
    axes = figure.subplots()
    axes.set_prop_cycle(color=[colormaps["tab20"](index) for index in range(20)])
    width = 0.8 / len(comparison.rows)
    for index, row in enumerate(comparison.rows):
        figures = [*(row.sites.get(site) for site in comparison.sites), row.mean]
        heights = [float("nan") if each is None or each.value is None else each.value for each in figures]
        left = [position + index * width for position in range(len(places))]
        axes.bar(left, heights, width=width, label=row.arm, align="edge")
        seeds = [value for value in row.by_seed if value is not None]
        middle = left[-1] + width / 2
        axes.plot([middle] * len(seeds), seeds, "k.", markersize=3)
        if row.mean.low is not None and row.mean.high is not None:
            axes.vlines(middle, row.mean.low, row.mean.high, colors="k", linewidth=1)
    axes.set_xticks([position + 0.4 for position in range(len(places))], places)
    axes.set_ylabel(words(comparison.metric))
    axes.set_ylim(0, 1)
    figure.legend(loc="outside right upper", fontsize=7)
    figure.savefig(path, dpi=120)
