"""The reliability diagram: how often a model is right, beside how sure it is."""

import math
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from fedward_models.inference.calibration import Reliability

_COLUMNS = 4  # panels side by side
_LETTERS = 40  # of a site's name on one line above its panel


def draw_reliability(sites: Mapping[str, "Reliability"], path: Path) -> None:
    """Draw a panel for each site: accuracy over confidence, what would be right, and the decisions of each bar."""
    columns = min(len(sites), _COLUMNS)
    rows = math.ceil(len(sites) / columns)
    figure = Figure(figsize=(4 * columns, 4 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, (site, found) in zip(panels, sites.items(), strict=False):
        _draw(axes, site, found)
    for axes in panels[len(sites) :]:
        axes.set_axis_off()
    figure.savefig(path, dpi=120)


def _draw(axes: Axes, site: str, found: "Reliability") -> None:
    edges = np.arange(len(found.counts)) / len(found.counts)
    filled = found.counts > 0
    axes.bar(edges[filled], found.accuracy[filled], width=1 / len(edges), align="edge", edgecolor="white")
    axes.plot((0, 1), (0, 1), "k:", linewidth=1)
    for edge, height, count in zip(edges[filled], found.accuracy[filled], found.counts[filled], strict=True):
        axes.text(edge + 0.5 / len(edges), height, str(count), ha="center", va="bottom", fontsize=7)
    axes.set(xlim=(0, 1), ylim=(0, 1.05), ylabel="part that is right")
    axes.set_xlabel("confidence, and above each bar its decisions")
    axes.set_title(f"{textwrap.fill(site, _LETTERS)}\ncalibration error {found.error}", fontsize=9)
