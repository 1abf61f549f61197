"""Arguments and options that several commands share, so that they mean the same everywhere."""

from pathlib import Path
from typing import Annotated

import typer

SpecFile = Annotated[
    Path, typer.Argument(help="The spec: a YAML file that describes the run.", exists=True, dir_okay=False)
]
_DATA_HELP = "A folder with one .npz file or one folder for each site."
DataFolder = Annotated[Path, typer.Option("--data", help=_DATA_HELP, file_okay=False)]
DataFolderOrNone = Annotated[
    Path | None, typer.Option("--data", help=f"{_DATA_HELP} Left out, hospitals are simulated.", file_okay=False)
]
OutFolder = Annotated[
    Path | None,
    typer.Option("--out", help="The folder of the run; runs/NAME by default.", file_okay=False),
]
EngineName = Annotated[
    str,
    typer.Option("--engine", help="What carries the run out, see `fedward zoo list --kind engine`."),
]
Workers = Annotated[
    int, typer.Option("--workers", min=1, help="Sites that train side by side. Results do not depend on it.")
]
Fresh = Annotated[bool, typer.Option("--fresh", help="Remove the run that the folder holds, and start anew.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
FinishedRun = Annotated[
    Path,
    typer.Argument(help="The folder of a run, or of an unpacked download of one.", exists=True, file_okay=False),
]
StageName = Annotated[str | None, typer.Option("--stage", help="The stage whose model is meant; the last by default.")]
BestWeights = Annotated[
    bool, typer.Option("--best", help="Take the weights after the best evaluated round, not after the last.")
]
