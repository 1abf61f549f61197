"""What ``fedward predict`` writes of a model that gives a class to every pixel or voxel."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fedward_core.arrays import Array
from fedward_core.cards import DataKind

if TYPE_CHECKING:
    from fedward_models.inference.finished_model import FinishedModel
    from fedward_models.inference.outlining import Outlines

PICTURE = "outlines.png"


def write_outlines(table: Path, found: Sequence["Outlines"], *, model: "FinishedModel", data: Path) -> None:
    """Write a table of all images, and beside it a mask for each and a picture of some.

    Args:
        table: The table.
        found: What was outlined, by site.
        model: The model.
        data: The folder of the images.
    """
    from fedward_cli.display.outline_picture import draw_outlines  # matplotlib is slow to import

    for each in found:
        _write_masks(table.parent, each, model, data)
    _write_table(table, found)
    draw_outlines(found, table.parent / PICTURE)


def _write_masks(folder: Path, found: "Outlines", model: "FinishedModel", data: Path) -> None:
    """Values are class numbers: such files can be a site's labels again."""
    from fedward_models.inference.outlining import SourceImages

    source = SourceImages(data, found.site, model.spec.dataset)
    for index, mask in zip(found.images.tolist(), found.masks, strict=True):
        path = folder / _mask_name(found, index)
        if found.contract.kind is DataKind.VOLUME:
            source.write_on_scan(path, index, mask)
        else:
            _write_png(path, source.mask_on(index, mask), num_classes=len(found.contract.classes))


def _write_png(path: Path, mask: Array, *, num_classes: int) -> None:
    """Class numbers in colours that people tell apart."""
    from PIL import Image  # slow to import

    from fedward_cli.display.palette import palette

    colours = np.rint(255 * np.array([(0, 0, 0, 1), *palette(num_classes - 1)])[:, :3]).astype(int)
    image = Image.fromarray(mask)
    image.putpalette(colours.ravel().tolist())
    image.save(path)


def _write_table(path: Path, found: Sequence["Outlines"]) -> None:
    classes, labelled = found[0].contract.classes, any(each.noted for each in found)
    dice = [f"dice/{name}" for name in classes] if labelled else []
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("site", "image", "name", "patient", "mask", *(f"share/{name}" for name in classes), *dice))
        for each in found:
            writer.writerows(_rows(each, num_dice=len(dice)))


def _rows(found: "Outlines", *, num_dice: int) -> Iterator[tuple[object, ...]]:
    """A row for each image; where an image has no label, or neither it nor the model a class, there is no overlap."""
    scores: Array = found.noted.get("dice", np.full((len(found.images), num_dice), np.nan))
    for row, (index, shares) in enumerate(zip(found.images.tolist(), found.shares, strict=True)):
        dice = ("" if np.isnan(score) else f"{score:.6f}" for score in scores[row])
        yield (
            *(found.site, index, found.names[row], found.patients[row], _mask_name(found, index)),
            *(f"{share:.6f}" for share in shares),
            *dice,
        )


def _mask_name(found: "Outlines", index: int) -> str:
    return f"{found.site}-{index:05d}.{'nii.gz' if found.contract.kind is DataKind.VOLUME else 'png'}"
