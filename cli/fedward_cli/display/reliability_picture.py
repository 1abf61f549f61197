"""The reliability diagram: how often a model is right, beside how sure it is."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from fedward_models.inference.calibration import Reliability


def draw_reliability(sites: Mapping[str, "Reliability"], path: Path) -> None:
    """Draw a panel for each site: accuracy over confidence, what would be right, and the decisions of each bar."""
    figure = Figure(figsize=(4 * len(sites), 4), layout="constrained")
    for axes, (site, found) in zip(figure.subplots(1, len(sites), squeeze=False)[0], sites.items(), strict=True):
        edges = np.arange(len(found.counts)) / len(found.counts)
        filled = found.counts > 0
        axes.bar(edges[filled], found.accuracy[filled], width=1 / len(edges), align="edge", edgecolor="white")
        axes.plot((0, 1), (0, 1), "k:", linewidth=1)
        for edge, height, count in zip(edges[filled], found.accuracy[filled], found.counts[filled], strict=True):
            axes.text(edge + 0.5 / len(edges), height, str(count), ha="center", va="bottom", fontsize=6)
        axes.set(xlim=(0, 1), ylim=(0, 1.05), xlabel="confidence", ylabel="part that is right")
        axes.set_title(f"{site}: calibration error {found.error}", fontsize=9)
    figure.savefig(path, dpi=120)
