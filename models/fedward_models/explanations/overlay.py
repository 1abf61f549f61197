"""Maps as files: NIfTI that viewers lay over the scan, and PNG slices for a quick look.

What a map shows belongs to a patient: files stay at the site.

Letters: D slices from feet to head, H rows from front to back, W columns from the patient's right to the left.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fedward_core.arrays import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes  # slow to import

UNKNOWN_SPACING_MM = (1.0, 1.0, 1.0)  # viewers need one


def write_nifti(path: Path, values: Array, *, spacing_mm: tuple[float, float, float]) -> None:
    """Write a volume on the study's grid, or a map of it, with its orientation; its middle is the origin.

    Args:
        path: ``.nii`` or ``.nii.gz``.
        values: (D, H, W), as batches have them; uint8 stays so, all else is written as float32.
        spacing_mm: Depth, height and width of a voxel.
    """
    depth, height, width = spacing_mm
    # NIfTI counts to the right, to the front and to the head; ours are columns to the left and rows to the back.
    affine = np.diag([-width, -height, depth, 1.0])
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(values.shape[::-1]) - 1) / 2)
    write_in_scan(path, values.transpose(2, 1, 0), affine)


def write_in_scan(path: Path, values: Array, affine: Array) -> None:
    """Write voxels where a scan has them, so that viewers lay them over it.

    Args:
        path: ``.nii`` or ``.nii.gz``.
        values: Along the three axes of the scan; uint8 stays so, all else is written as float32.
        affine: (4, 4), the scan's.
    """
    import nibabel  # noqa: PLC0415 - slow to import

    kind: Any = nibabel.Nifti1Image
    image = kind(np.ascontiguousarray(values, dtype=np.uint8 if values.dtype == np.uint8 else np.float32), affine)
    image.header.set_xyzt_units("mm")
    nibabel.save(image, path)


def write_slices(path: Path, volume: Array, heat: Array, *, title: str, columns: int = 4) -> None:
    """Write a PNG of slices with a map over them, each with its number: red speaks for the class, blue against it.

    Args:
        path: ``.png``.
        volume: (D, H, W), any range.
        heat: (D, H, W), signed.
        title: What stands above, with that class.
        columns: Slices side by side; two rows of them, evenly from the second eighth to the seventh, each slice once.
    """
    from matplotlib.figure import Figure  # noqa: PLC0415 - slow to import

    spread = np.linspace(len(volume) / 8, len(volume) * 7 / 8, 2 * columns).astype(int)
    places = np.unique(spread) if len(volume) > 2 * columns else np.arange(len(volume))
    limit = float(np.abs(heat).max()) or 1.0
    figure = Figure(figsize=(2 * columns, 4.6), layout="constrained")
    panels = figure.subplots(2, columns).flat
    for axes in panels[len(places) :]:
        axes.set_axis_off()
    for axes, place in zip(panels, places, strict=False):
        axes.imshow(volume[place], cmap="gray", vmin=float(volume.min()), vmax=float(volume.max()))
        lay_over(axes, heat[place], limit=limit)
        axes.set_title(f"{place + 1} of {len(volume)}", fontsize=7)
        axes.set_axis_off()
    figure.suptitle(f"{title}; {legend(heat)}", fontsize=9)
    figure.savefig(path, dpi=100)


def lay_over(axes: "Axes", heat: Array, *, limit: float) -> None:
    """Draw a map over an image, the clearer the more it says.

    Args:
        axes: Where the image is drawn.
        heat: (H, W), signed: red above 0, blue below.
        limit: The largest absolute value of the whole map, above 0.
    """
    axes.imshow(heat, cmap="seismic", vmin=-limit, vmax=limit, alpha=np.sqrt(np.abs(heat) / limit) * 0.7)


def legend(heat: Array) -> str:
    """What the colours of a map mean: one without values below 0 says what counted, not for what."""
    return "red: for it, blue: against it" if (heat < 0).any() else "red: what counted"
