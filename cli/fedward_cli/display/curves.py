"""Losses and figures of a run over its rounds, drawn into a file."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from fedward_cli.display.palette import Colour, palette
from fedward_cli.display.tables import FIGURES, figure_names, words
from fedward_cli.simulation.results import Moment, Results

Curves = dict[str, dict[str, tuple[list[int], list[float]]]]
"""Rounds and values by site and stage."""


def draw_curves(results: Results, path: Path, *, title: str) -> None:
    """Draw the loss of each site, and each usual figure of each site, over the rounds of all stages."""
    starts = _starts(results)
    usual = [name for name in figure_names(results) if name in FIGURES]
    panels = [("training loss", _curves(results.losses, starts))]
    panels += [(words(name), _curves(_values(results, name), starts)) for name in usual]
    sites = sorted({site for _, curves in panels for site in curves})
    colours = dict(zip(sites, palette(len(sites)), strict=True))
    figure = Figure(figsize=(5 * len(panels) + 1.5, 4), layout="constrained")
    for axes, (label, curves) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        _draw(axes, label, curves, starts, colours)
    figure.legend(
        *_legend(figure.axes, sites), loc="outside right upper", fontsize=7, ncols=math.ceil(len(sites) / 24) or 1
    )
    figure.suptitle(title)
    figure.savefig(path, dpi=120)


def _draw(axes: Axes, label: str, curves: Curves, starts: Mapping[str, int], colours: Mapping[str, Colour]) -> None:
    for site, of_stages in sorted(curves.items()):
        # A dot for each value, as a stage may have one only; and no line from one stage's loss to another's.
        for each in of_stages.values():
            axes.plot(*each, ".-", color=colours[site], label=site, linewidth=1.2, markersize=3)
    for stage, start in starts.items():
        axes.axvline(start + 0.5, color="0.7", linewidth=0.8, linestyle=":")
        axes.text(start + 0.5, 1.01, stage, transform=axes.get_xaxis_transform(), fontsize=7, rotation=45, va="bottom")
    axes.set_xlim(left=0.5, right=axes.get_xlim()[1] + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_xlabel("round")
    axes.set_ylabel(label)


def _legend(panels: Sequence[Axes], sites: Sequence[str]) -> tuple[list[Artist], list[str]]:
    """One line for each site, whatever the number of its stages and of panels."""
    lines = {str(line.get_label()): line for axes in panels for line in axes.get_lines()}
    return [lines[site] for site in sites], list(sites)


def _starts(results: Results) -> dict[str, int]:
    """The rounds before each stage, in the order in which stages were run."""
    lengths: dict[str, int] = {}
    for moment in (*results.losses, *results.evaluations):
        lengths[moment.stage] = max(lengths.get(moment.stage, 0), moment.round + 1)
    starts, passed = {}, 0
    for stage, length in lengths.items():
        starts[stage] = passed
        passed += length
    return starts


def _curves(values: Mapping[Moment, float], starts: Mapping[str, int]) -> Curves:
    curves: Curves = {}
    for moment, value in sorted(values.items(), key=lambda item: starts[item[0].stage] + item[0].round):
        rounds, figures = curves.setdefault(moment.site, {}).setdefault(moment.stage, ([], []))
        rounds.append(starts[moment.stage] + moment.round + 1)
        figures.append(value)
    return curves


def _values(results: Results, name: str) -> dict[Moment, float]:
    found = {moment: metrics.get(name) for moment, metrics in results.evaluations.items()}
    return {moment: metric.value for moment, metric in found.items() if metric and metric.value is not None}
