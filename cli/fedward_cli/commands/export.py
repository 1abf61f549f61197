"""``fedward zoo export``: a finished model as files for other programs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.markup import escape

from fedward_cli.commands.opening import Kept, open_model
from fedward_cli.display.consoles import tell
from fedward_cli.options import FOLDER, BestWeights, FinishedRun, StageName, folder_of_sites

if TYPE_CHECKING:
    from fedward_core.spec import Spec, Standardisation


def export(
    run: FinishedRun,
    form: Annotated[Literal["safetensors", "onnx", "monai"], typer.Option("--format", help="What is written.")],
    out: Annotated[
        Path | None,
        typer.Option("--out", help="The folder, which must not exist; RUN-STAGE-FORMAT by default.", file_okay=False),
    ] = None,
    stage: StageName = None,
    best: BestWeights = False,
    kept: Kept = None,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            help="With --site: standardise by that site's training images.",
            metavar=FOLDER,
            callback=folder_of_sites,
        ),
    ] = None,
    site: Annotated[str | None, typer.Option("--site", help="The site whose mean and deviation are written.")] = None,
) -> None:
    """Take a finished model home: as numbers, as an ONNX graph, or as a MONAI bundle, each with a model card.

    The exported model is compared with the trained one before it counts. One that was never trained is refused.

    For example `fedward zoo export runs/quickstart --format onnx`
    """
    from fedward_models.export.exporting import export as write  # torch
    from fedward_models.export.facts import read_facts

    if (data is None) != (site is None):
        raise typer.BadParameter("--data and --site say together by whose images pixels are standardised: give both")
    model = open_model(run, stage, best=best, kept=kept)
    standardisation = _standardisation(data, site, model.spec) if data and site else model.spec.dataset.standardisation
    out = out or Path(f"{run.resolve().name}-{model.stage.name}-{form}")
    write(model, read_facts(run, model.stage.name), out, form=form, standardisation=standardisation)
    tell(f"Stage '{model.stage.name}' of '{model.spec.name}' is in '{escape(str(out))}', with a model card.")


def _standardisation(data: Path, site: str, spec: "Spec") -> "Standardisation":
    from fedward_core.cards import Split
    from fedward_core.spec import Standardisation
    from fedward_models.data import open_split

    images = open_split(data, site, spec.dataset, Split.TRAIN)
    return Standardisation(mean=images.mean, std=images.std)
