"""``fedward explain``: where the decisions of a finished model came from; everything that it writes stays there."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.markup import escape

from fedward_cli.commands.opening import Kept, open_model
from fedward_cli.display.consoles import in_turn, output, tell
from fedward_cli.display.tables import folding
from fedward_cli.options import AsJson, BestWeights, DataFolder, FinishedRun, SplitName, StageName
from fedward_cli.simulation.turns import holding_slot
from fedward_core.atomic import filling
from fedward_core.cards import DataKind, Split, Task
from fedward_core.errors import CheckpointError
from fedward_core.spec import Dataset

if TYPE_CHECKING:
    from fedward_models.inference.explaining import Explanation

MapName = Annotated[
    Literal["gradients", "contributions", "attention"],
    typer.Option("--map", metavar="MAP", help="What the maps show: gradients, contributions or attention."),
]
NumImages = Annotated[int, typer.Option("--images", min=1, help="How many images of each site.")]
NUM_IMAGES = 4
_FOLDER = typer.Option("--out", help="The folder for what is written; it must not exist.", file_okay=False)


def explain(
    run: FinishedRun,
    data: DataFolder,
    out: Annotated[Path, _FOLDER],
    kind: MapName = "gradients",
    images: NumImages = NUM_IMAGES,
    stage: StageName = None,
    best: BestWeights = False,
    kept: Kept = None,
    split: SplitName = Split.TEST,
    as_json: AsJson = False,
) -> None:
    """Show where in an image the decision of a finished model came from.

    The pictures show images of patients, and stay where these are.

    For example `fedward explain runs/quickstart --data hospitals/ --out explained`
    """
    from fedward_models.data import sites_in  # torch
    from fedward_models.inference.explaining import check_has_maps, explain_site
    from fedward_models.inference.fitting import open_fitting

    if out.exists():
        raise CheckpointError(f"'{out}' exists: choose a new folder")
    model = open_model(run, stage, best=best, kept=kept, data=data)
    check_has_maps(model, kind)
    sites = sites_in(data)
    # Images are decoded, and what does not fit is refused, while others may train here.
    for site in in_turn(sites, "reading the images of"):
        open_fitting(model, data, site, split)
    with holding_slot() as give_way:
        found = [
            explanation
            for site in in_turn(sites, "explaining at")
            for explanation in explain_site(model, data, site, split, kind=kind, num_images=images, give_way=give_way)
        ]
    with filling(out) as folder:
        for each in found:
            _write(folder, each)
            if each.contract.kind is DataKind.VOLUME:
                _write_volume(folder, each, data, model.spec.dataset)
    _show(found, machine=as_json)
    tell(f"Maps of {len(found)} images are in '{escape(str(out))}'.")


def _write(out: Path, found: "Explanation") -> None:
    from fedward_cli.display.explanation_picture import draw_image  # matplotlib is slow to import
    from fedward_models.explanations.overlay import write_slices

    path, title = out / f"{_stem(found)}.png", f"{'most probable' if _may_name_none(found) else 'named'}: {found.named}"
    if found.pixels.ndim == 2:
        draw_image(path, found.pixels, found.heat, title=title)
    else:
        write_slices(path, found.pixels, found.heat, title=title)


def _write_volume(out: Path, found: "Explanation", data: Path, dataset: Dataset) -> None:
    """In the voxels of the scan that was read, one scan at a time; without a scan, on the study's grid."""
    from fedward_models.data.reading.scans import scan_of  # torch
    from fedward_models.data.reading.voxels import back_in_scan
    from fedward_models.explanations.overlay import UNKNOWN_SPACING_MM, write_in_scan, write_nifti

    picture, heat = (out / f"{_stem(found)}-{what}.nii.gz" for what in ("scan", "map"))
    scan = scan_of(data, found.site, dataset, found.image)
    if scan is not None:
        write_in_scan(picture, scan.values, scan.affine)
        write_in_scan(heat, back_in_scan(found.heat, scan, dataset), scan.affine)
        return
    depth, height, width = found.spacing_mm or UNKNOWN_SPACING_MM
    write_nifti(picture, found.pixels, spacing_mm=(depth, height, width))
    write_nifti(heat, found.heat, spacing_mm=(depth, height, width))


def _may_name_none(found: "Explanation") -> bool:
    return found.contract.task is Task.MULTI_LABEL


def _stem(found: "Explanation") -> str:
    return f"{found.site}-{found.image:05d}"


def _show(found: list["Explanation"], *, machine: bool) -> None:
    rows = [
        {"site": each.site, "image": each.image, "name": each.name, "named": each.named, "missed": each.missed}
        for each in found
    ]
    if machine:
        typer.echo(json.dumps(rows, indent=2))
        return
    named = "most probable" if any(map(_may_name_none, found)) else "the model names"
    table = folding("site", "image", "name", named)
    for each in found:
        table.add_row(escape(each.site), str(each.image), escape(each.name), escape(each.named))
    output().print(table)
