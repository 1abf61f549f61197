"""Summaries of sites as one picture, a row for each site: intensities, classes, and a few images."""

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fedward_core.cards import DataKind, Split
from fedward_models.data.inspection.inspection import BINS, NUM_EXAMPLES, SiteSummary

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NOUNS = {DataKind.IMAGE: "images", DataKind.VOLUME: "volumes", DataKind.CLIP: "clips", DataKind.REPORT: "pairs"}
COLOURS = {Split.TRAIN: "#1f6f8b", Split.VALIDATION: "#99a8b2", Split.TEST: "#e8a33d"}
_LETTERS = 26  # of the classes of one example on a line above it


def inspect_picture(summaries: Sequence[SiteSummary], path: Path) -> None:
    """Draw summaries as a PNG. It shows images: it stays at the site."""
    import matplotlib as mpl  # noqa: PLC0415 - only here, and slow to import
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415
    from matplotlib.layout_engine import ConstrainedLayoutEngine  # noqa: PLC0415

    with mpl.rc_context({"font.size": 8, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(14, 2.1 * len(summaries) + 0.4), layout=ConstrainedLayoutEngine(h_pad=0.1))
        FigureCanvasAgg(figure)
        widths = [1.5, 1.5] + [1] * NUM_EXAMPLES
        grid = figure.subplots(len(summaries), len(widths), squeeze=False, width_ratios=widths)
        for axes, summary in zip(grid, summaries, strict=True):
            _draw_histogram(axes[0], summary)
            _draw_classes(axes[1], summary)
            _draw_examples(axes[2:], summary)
        grid[0, 1].legend(frameon=False, fontsize=7, ncols=3, loc="lower left", bbox_to_anchor=(0, 1), borderpad=0)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=110)


def _draw_histogram(axes: "Axes", summary: SiteSummary) -> None:
    heights = np.array(summary.histogram) / sum(summary.histogram)
    axes.bar((np.arange(BINS) + 0.5) / BINS, heights, width=1 / BINS, color="#444c56")
    axes.axvline(summary.mean, color="#e8a33d", linewidth=1)
    skipped = f", {summary.card.num_skipped} skipped" if summary.card.num_skipped else ""
    what = NOUNS[summary.card.contract.kind]
    axes.set_title(f"{summary.card.site}: {sum(summary.card.num_images.values())} {what}{skipped}", loc="left")
    axes.set(xlim=(0, 1), yticks=[], xlabel=f"intensity, mean {summary.mean:.2f}, deviation {summary.std:.2f}")


def _draw_classes(axes: "Axes", summary: SiteSummary) -> None:
    counts, names = summary.card.class_counts, summary.card.contract.classes
    left = np.zeros(len(names) if counts else 1)
    for split, colour in COLOURS.items():
        widths = np.array(counts[split] if counts else [summary.card.num_images[split]])
        axes.barh(np.arange(len(left)), widths, left=left, color=colour, label=str(split))
        left = left + widths
    axes.set_yticks(np.arange(len(left)), names if counts else ["no labels"])
    axes.invert_yaxis()
    axes.locator_params(axis="x", integer=True, nbins=5)
    axes.set_xlabel(f"{NOUNS[summary.card.contract.kind]} of each class")


def _draw_examples(all_axes: Sequence["Axes"], summary: SiteSummary) -> None:
    for axes in all_axes:
        axes.set_axis_off()
    for axes, image in zip(all_axes, summary.examples, strict=False):
        axes.imshow(image.transpose(1, 2, 0), cmap="gray", vmin=0, vmax=255)
    for axes, names in zip(all_axes, summary.example_classes, strict=False):
        lines = textwrap.wrap(", ".join(names), _LETTERS, max_lines=2, placeholder=" ...")
        axes.set_title("\n".join(lines), fontsize=7)
    for axes, mask in zip(all_axes, () if summary.example_masks is None else summary.example_masks, strict=False):
        shown = np.ma.masked_equal(mask, 0)  # what lies behind the first class is seen as it is
        axes.imshow(shown, cmap="tab10", vmin=0, vmax=9, alpha=0.35, interpolation="nearest")
