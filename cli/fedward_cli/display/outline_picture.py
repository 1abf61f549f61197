"""What a model outlines, over the first images of each site."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from fedward_cli.display.palette import Colour, palette
from fedward_core.arrays import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fedward_models.inference.outlining import Outlines

MOST_SITES = 6


def draw_outlines(found: Sequence["Outlines"], path: Path) -> None:
    """Draw a row of images for each site: solid lines are the model's, dashed ones those of the labels.

    Of a volume it is the slice in which most is outlined.

    Args:
        found: What was outlined, by site; the first ``MOST_SITES`` are drawn.
        path: The PNG file.
    """
    shown, classes = found[:MOST_SITES], found[0].contract.classes
    colours = palette(len(classes) - 1)
    columns = max(len(each.pixels) for each in shown)
    figure = Figure(figsize=(2.2 * columns, 2.4 * len(shown) + 0.5), layout="constrained")
    for panels, each in zip(figure.subplots(len(shown), columns, squeeze=False), shown, strict=True):
        _draw_site(panels, each, colours)
    figure.legend(handles=list(_legend(classes, colours, found)), loc="outside lower center", ncols=4, fontsize=8)
    figure.savefig(path, dpi=100)


def _draw_site(panels: Sequence["Axes"], found: "Outlines", colours: Sequence[Colour]) -> None:
    for axes in panels:
        axes.set_axis_off()
    for row, axes in enumerate(panels[: len(found.pixels)]):
        place = _slice_of(found.masks[row])
        axes.imshow(found.pixels[row][:, *place].transpose(1, 2, 0), cmap="gray", vmin=0, vmax=255)
        axes.set_title(
            ", slice ".join(map(str, (f"{found.site} {found.images[row]}", *(i + 1 for i in place)))), fontsize=8
        )
        _draw_lines(axes, found.masks[row][place], colours, style="solid")
        if found.truth is not None:
            _draw_lines(axes, found.truth[row][place], colours, style="dashed")


def _slice_of(mask: Array) -> tuple[int, ...]:
    """Where a flat picture of it is taken: nowhere, if it is flat itself."""
    return () if mask.ndim == 2 else (int((mask > 0).sum(axis=(1, 2)).argmax()),)


def _draw_lines(axes: "Axes", mask: Array, colours: Sequence[Colour], *, style: str) -> None:
    for number, colour in enumerate(colours, start=1):
        if (mask == number).any() and (mask != number).any():
            axes.contour(mask == number, levels=[0.5], colors=[colour], linestyles=style, linewidths=1)


def _legend(classes: Sequence[str], colours: Sequence[Colour], found: Sequence["Outlines"]) -> Iterator[Line2D]:
    for name, colour in zip(classes[1:], colours, strict=True):
        yield Line2D([], [], color=colour, label=name)
    if any(each.truth is not None for each in found):
        yield Line2D([], [], color="grey", linestyle="dashed", label="labels")
