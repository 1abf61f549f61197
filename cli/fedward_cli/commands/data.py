"""``fedward data``: simulated hospitals, a look at data, and one site cut into several. Nothing here needs torch.

The tables are in ``display.data_tables``.
"""

import json
import re
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from fedward_cli.commands.dataset_options import (
    Classes,
    Depth,
    Frames,
    Kind,
    Labels,
    Px,
    Spacing,
    Window,
    dataset_of,
    numbers,
)
from fedward_cli.display.consoles import errors, tell
from fedward_cli.display.data_tables import as_json_of, show_differences, show_sites
from fedward_cli.options import AsJson, finite, folder_of_sites
from fedward_core.cards import DataKind, Task
from fedward_core.errors import DataError

app = typer.Typer(no_args_is_help=True, help="Make, look at and cut data, site by site.")

Target = Annotated[Path, typer.Option("--out", help="The folder to write sites into.", file_okay=False)]
Source = Annotated[
    Path,
    typer.Argument(
        help="A folder with one .npz file or one folder for each site.",
        exists=True,
        callback=folder_of_sites,
    ),
]
Seed = Annotated[int, typer.Option("--seed", min=0, help="The same seed gives the same files.")]
_READING = "reading images, each of which is decoded once and kept"


def _png(path: Path | None) -> Path | None:
    """Checked before any image is read, which may take long."""
    if path is not None and path.suffix.lower() != ".png":
        raise typer.BadParameter(f"'{path}' is no name of a picture: expected one that ends in .png")
    return path


Picture = Annotated[
    Path | None,
    typer.Option(
        "--picture", help="Draw intensities, classes and examples into this PNG.", callback=_png, dir_okay=False
    ),
]


@app.command("generate")
def generate(
    out: Target,
    sites: Annotated[int, typer.Option(min=1, help="How many hospitals.")] = 3,
    images: Annotated[int, typer.Option(min=1, help="Films, volumes or clips of each hospital.")] = 200,
    px: Annotated[int, typer.Option("--px", min=16, help="Height and width of an image, in pixels.")] = 64,
    seed: Seed = 0,
    kind: Kind = DataKind.IMAGE,
    depth: Annotated[int | None, typer.Option(min=1, help="Slices of a volume, or frames of a clip.")] = None,
) -> None:
    """Simulate hospitals: patients who never lived, with differences between sites as between real ones.

    Chest films by default; volumes are heads, clips are beating hearts, and reports are films with what was written
    about them.

    For example `fedward data generate --out hospitals/ --sites 3`
    """
    from fedward_models.data import generate as generate_hospitals

    _refuse_sites_in(out)
    paths = generate_hospitals(out, sites=sites, images_per_site=images, image_px=px, seed=seed, kind=kind, depth=depth)
    _tell_written(paths, out)


@app.command("inspect")
def inspect(
    data: Source,
    px: Px = 64,
    classes: Classes = "",
    task: Labels = Task.CLASSIFICATION,
    kind: Kind = DataKind.IMAGE,
    depth: Depth = None,
    frames: Frames = None,
    spacing: Spacing = "",
    window: Window = "",
    picture: Picture = None,
    as_json: AsJson = False,
) -> None:
    """Count images, patients and classes of each site and split, and list files that cannot be used.

    The table names files and the picture shows images: both are for the eyes of those who may see the data. Splits that
    the data lack are drawn as for a dataset of the folder's name.

    For example `fedward data inspect hospitals/ --classes normal,pneumonia --picture hospitals.png`
    """
    from fedward_models.data import inspect as look_at

    dataset = dataset_of(
        data, px=px, classes=classes, task=task, kind=kind, depth=depth, frames=frames, spacing=spacing, window=window
    )
    with errors().status(_READING):
        summaries = look_at(data, dataset)
    if as_json:
        typer.echo(f"[{', '.join(summary.card.model_dump_json() for summary in summaries)}]")
    else:
        show_sites(summaries)
    if picture is not None:
        from fedward_models.data import inspect_picture  # imports matplotlib

        inspect_picture(summaries, picture)
        tell(f"Drawn into '{escape(str(picture))}'.")


@app.command("compare")
def compare(
    data: Source,
    px: Px = 64,
    classes: Classes = "",
    task: Labels = Task.CLASSIFICATION,
    kind: Kind = DataKind.IMAGE,
    depth: Depth = None,
    frames: Frames = None,
    spacing: Spacing = "",
    window: Window = "",
    as_json: AsJson = False,
) -> None:
    """Tell how much sites differ in classes, intensities and size, and what that suggests. Counts below 5 are hidden.

    For example `fedward data compare hospitals/`
    """
    from fedward_models.data import compare_sites

    dataset = dataset_of(
        data, px=px, classes=classes, task=task, kind=kind, depth=depth, frames=frames, spacing=spacing, window=window
    )
    with errors().status(_READING):
        found = compare_sites(data, dataset)
    if as_json:
        typer.echo(json.dumps(as_json_of(found)))
    else:
        show_differences(found)


@app.command("list")
def list_(
    folder: Annotated[Path, typer.Argument(help="The folder of one site.", exists=True, file_okay=False)],
    kind: Kind = DataKind.IMAGE,
) -> None:
    """Write the labels.csv of a folder of files: images, DICOM series, NIfTI files or videos. Check its labels.

    A file in a folder below gets that folder's name as its label. Patients are those that DICOM files name.

    For example `fedward data list scans/west --kind volume`
    """
    from fedward_models.data import list_files

    table, count = list_files(folder, kind)
    tell(escape(f"Listed {count} in '{table}': check the labels and patients before a study reads them."))


@app.command("import")
def import_(
    source: Annotated[Path, typer.Argument(help="A data set's folder, with train and test.", exists=True)],
    out: Target,
    black_and_white: Annotated[str, typer.Option("--range", help="The values of black and white.")] = "-1,1",
) -> None:
    """Import a data set that PFLlib has split: one site for each of its clients.

    For example `fedward data import PFLlib/dataset/MNIST --out mnist/`
    """
    from fedward_models.data import import_pfllib

    low, high = numbers(black_and_white, 2, "--range")
    if low >= high:
        raise typer.BadParameter(f"--range is '{black_and_white}', expected the value of black below that of white")
    _refuse_sites_in(out)
    _tell_written(import_pfllib(source, out, value_range=(low, high)), out)


@app.command("split")
def split(
    data: Source,
    out: Target,
    site: Annotated[list[str], typer.Option("--site", help="The site to cut; may be given several times.")],
    parts: Annotated[int, typer.Option(min=2, help="Pseudo-sites to make of each.")] = 3,
    alpha: Annotated[
        float | None,
        typer.Option(min=0.0, callback=finite, help="Skew the classes: Dirichlet concentration, small is more skewed."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="0 by default; with --alpha 2022, as the paper has it.")
    ] = None,
) -> None:
    """Cut a site into pseudo-sites by patient, to study many small hospitals with the images of a large one.

    With --alpha images are dealt one by one with skewed classes, so a patient may be at several pseudo-sites.

    For example `fedward data split xrays/ --site nih --site guangzhou --parts 3 --out cut/`
    """
    from fedward_models.data import split_dirichlet, split_site

    given = {} if seed is None else {"seed": seed}
    _refuse_parts_of_other_cuts(data, out, site, parts)
    for name in site:
        if alpha is None:
            _tell_written(split_site(data, name, parts, out, **given), out)
        else:
            _tell_written(split_dirichlet(data, name, parts, out, alpha=alpha, **given), out)


def _refuse_sites_in(out: Path) -> None:
    """What a folder holds may be real, and would stand beside what is written or be replaced by it.

    Raises:
        DataError: The folder holds data of a site.
    """
    if next(chain.from_iterable(out.glob(each) for each in ("*.npz", "labels.csv", "*/labels.csv")), None):
        raise DataError(f"'{out}' holds sites already: choose a new folder")


def _refuse_parts_of_other_cuts(data: Path, out: Path, sites: Sequence[str], parts: int) -> None:
    """A patient must not come to be at two sites of one folder.

    Raises:
        DataError: The whole site is in the folder too, or parts of an earlier cut into more are.
    """
    if out.resolve() == data.resolve():
        raise DataError("the parts would lie beside the whole site, with the same patients: choose another --out")
    numbered = re.compile(rf"({'|'.join(map(re.escape, sites))})-(\d+)")
    found = {path.name: numbered.fullmatch(path.stem) for path in sorted(out.glob("*.npz"))}
    older = [name for name, match in found.items() if match and int(match[2]) > parts]
    if older:
        raise DataError(
            f"'{out}' holds {', '.join(older)} of an earlier cut into more parts, with the same patients: remove what "
            "it left, or choose another --out"
        )


def _tell_written(paths: Sequence[Path], out: Path) -> None:
    tell(escape(f"Wrote {', '.join(path.name for path in paths)} into '{out}'."))
