"""Arguments and options that several commands share, so that they mean the same everywhere."""

import math
from pathlib import Path
from typing import Annotated

import typer

from fedward_core import registry
from fedward_core.cards import Split

RECIPE = "recipe:"
FOLDER = "DIRECTORY"  # as the help calls folders elsewhere
CARRYING_OUT = "How it is carried out"  # a panel of the help


def spec_file(text: str) -> Path:
    """The file that an argument names: a path, or a recipe of the zoo.

    Raises:
        BadParameter: There is no such file or recipe.
    """
    if text.startswith(RECIPE):
        from fedward_models.recipes import recipes  # only where a recipe is asked for

        name, known = text.removeprefix(RECIPE), recipes()
        if name not in known:
            raise typer.BadParameter(registry.unknown(f"recipe '{name}'", name, tuple(known)))
        return known[name]
    if not Path(text).is_file():
        raise typer.BadParameter(f"there is no file '{text}': expected a spec in YAML, or recipe:NAME")
    return Path(text)


def class_names(text: str) -> tuple[str, ...]:
    """The names of classes, which a text holds with commas between them."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def finite(number: float | None) -> float | None:
    """A number that is one: text says ``nan`` and ``inf`` too, and bounds let the first pass.

    Raises:
        BadParameter: It is none.
    """
    if number is not None and not math.isfinite(number):
        raise typer.BadParameter(f"expected a number, found '{number}'")
    return number


def folder_of_sites(path: Path | None) -> Path | None:
    """The folder that an option names, which holds the sites; a file of one of them is the usual slip.

    Raises:
        BadParameter: It is a file.
    """
    if path is not None and path.is_file():
        raise typer.BadParameter(f"'{path}' is a file: give the folder above it, which may hold several sites")
    return path


SpecFile = Annotated[
    Path,
    typer.Argument(
        help="The spec: a YAML file that describes the run, or recipe:NAME for published settings.",
        parser=spec_file,
        metavar="SPEC",
    ),
]
_DATA_HELP = "A folder with one .npz file or one folder for each site."
DataFolder = Annotated[Path, typer.Option("--data", help=_DATA_HELP, metavar=FOLDER, callback=folder_of_sites)]
DataFolderOrNone = Annotated[
    Path | None,
    typer.Option(
        "--data", help=f"{_DATA_HELP} Left out, hospitals are simulated.", metavar=FOLDER, callback=folder_of_sites
    ),
]
OutFolder = Annotated[
    Path | None,
    typer.Option("--out", help="The folder of the run; by default in runs/, named by the spec.", file_okay=False),
]
EngineName = Annotated[
    str,
    typer.Option(
        "--engine", help="What carries runs out, see `fedward zoo list --kind engine`.", rich_help_panel=CARRYING_OUT
    ),
]
Workers = Annotated[
    int,
    typer.Option(
        "--workers",
        min=1,
        help="Sites that train side by side. Results do not depend on it.",
        rich_help_panel=CARRYING_OUT,
    ),
]
RayWorkers = Annotated[
    int,
    typer.Option(
        "--ray-workers",
        min=1,
        help="Workers that share every batch by Ray Train: GPUs of this machine, or of the cluster at RAY_ADDRESS.",
        rich_help_panel=CARRYING_OUT,
    ),
]
Fresh = Annotated[
    bool,
    typer.Option(
        "--fresh", help="Remove what runs have left in the folder, and start anew.", rich_help_panel=CARRYING_OUT
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
FinishedRun = Annotated[
    Path,
    typer.Argument(help="The folder of a run, or of an unpacked download of one.", exists=True, file_okay=False),
]
StageName = Annotated[str | None, typer.Option("--stage", help="The stage whose model is meant; the last by default.")]
SplitName = Annotated[Split, typer.Option("--split", help="Which images of each site.")]
BestWeights = Annotated[
    bool, typer.Option("--best", help="Take the weights after the best evaluated round, not after the last.")
]
