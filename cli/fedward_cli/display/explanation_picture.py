"""An image beside itself with a map over it."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from fedward_core.arrays import Array
from fedward_models.explanations.overlay import lay_over, legend


def draw_image(path: Path, pixels: Array, heat: Array, *, title: str) -> None:
    """Draw one image: red speaks for the class that the model names, blue against it.

    Args:
        path: The PNG file.
        pixels: (H, W), in [0, 1].
        heat: (H, W), signed.
        title: What stands above it, with that class.
    """
    limit = float(np.abs(heat).max()) or 1.0
    figure = Figure(figsize=(6, 3.3), layout="constrained")
    plain, covered = figure.subplots(1, 2)
    for axes in (plain, covered):
        axes.imshow(pixels, cmap="gray", vmin=0, vmax=1)
        axes.set_axis_off()
    lay_over(covered, heat, limit=limit)
    plain.set_title(title, fontsize=9)
    covered.set_title(legend(heat), fontsize=9)
    figure.savefig(path, dpi=100)
