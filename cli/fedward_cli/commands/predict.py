"""``fedward predict``: a finished model over a folder of images; everything that it writes stays there."""

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from fedward_cli.commands.opening import Kept, open_model
from fedward_cli.display.consoles import in_turn, output, tell
from fedward_cli.display.tables import folding, words
from fedward_cli.options import AsJson, BestWeights, DataFolder, FinishedRun, SplitName, StageName
from fedward_cli.simulation.results import plain
from fedward_cli.simulation.turns import holding_slot
from fedward_core.atomic import filling
from fedward_core.cards import Split, Task
from fedward_core.errors import CheckpointError
from fedward_core.metric import Metrics

if TYPE_CHECKING:
    from fedward_models.inference.predicting import Predictions

TABLE, REPORT, PICTURE = "predictions.csv", "report.json", "reliability.png"
_FOLDER = typer.Option("--out", help="The folder for what is written; it must not exist.", file_okay=False)


def predict(
    run: FinishedRun,
    data: DataFolder,
    out: Annotated[Path, _FOLDER],
    stage: StageName = None,
    best: BestWeights = False,
    kept: Kept = None,
    split: SplitName = Split.TEST,
    as_json: AsJson = False,
) -> None:
    """Let a finished model name the classes of images, or outline them, and show how far it can be trusted.

    Writes `predictions.csv`, and where there are labels `report.json` and `reliability.png`; of a model that gives a
    class to every pixel, masks and `outlines.png`. They name patients, and stay where the images are.

    For example `fedward predict runs/quickstart --data hospitals/ --out predicted`
    """
    from fedward_models.data import sites_in  # torch
    from fedward_models.inference.fitting import open_fitting
    from fedward_models.inference.outlining import outline_site
    from fedward_models.inference.predicting import predict_site

    if out.exists():
        raise CheckpointError(f"'{out}' exists: choose a new folder")
    model = open_model(run, stage, best=best, kept=kept, data=data)
    sites = sites_in(data)
    # Images are decoded, and what does not fit is refused, while others may train here.
    for site in in_turn(sites, "reading the images of"):
        open_fitting(model, data, site, split)
    outlines = model.plan.contract.task is Task.SEGMENTATION
    of_site: Callable[..., Any] = outline_site if outlines else predict_site
    with holding_slot() as give_way:
        found = [of_site(model, data, site, split, give_way=give_way) for site in in_turn(sites, "predicting at")]
    settings = model.spec.evaluate
    report = {each.site: each.figures(bootstrap=settings.bootstrap, seed=model.spec.seed) for each in found}
    with filling(out) as folder:
        if outlines:
            from fedward_cli.commands.outlines import write_outlines  # numpy is slow to import

            write_outlines(folder / TABLE, found, model=model, data=data)
        else:
            _write_classes(folder / TABLE, found)
        if any(report.values()):
            (folder / REPORT).write_text(json.dumps(plain(report), indent=2) + "\n", encoding="utf-8")
    _show(report, machine=as_json)
    tell(f"Predictions of {sum(len(each.images) for each in found)} images are in '{escape(str(out))}'.")


def _write_classes(table: Path, found: Sequence["Predictions"]) -> None:
    """The table, and beside it a picture where there are labels."""
    _write_table(table, found)
    known = {each.site: each.reliability for each in found if each.reliability}
    if known:
        from fedward_cli.display.reliability_picture import draw_reliability  # matplotlib is slow to import

        draw_reliability(known, table.parent / PICTURE)


def _write_table(path: Path, found: Sequence["Predictions"]) -> None:
    classes = found[0].contract.classes
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(
            ("site", "image", "name", "patient", "label", "predicted", *(f"probability/{name}" for name in classes))
        )
        for each in found:
            writer.writerows(_rows(each))


def _rows(found: "Predictions") -> Iterator[tuple[object, ...]]:
    """A row for each image; several classes are separated as in ``labels.csv``, since names may hold spaces."""
    from fedward_models.data.labels import SEPARATOR  # its package is slow to import

    def joined(chosen: Iterable[bool]) -> str:
        return SEPARATOR.join(name for name, one in zip(found.contract.classes, chosen, strict=True) if one)

    truth = found.truth
    for row, named in enumerate(found.named):
        label = "" if truth is None else joined(truth[row])
        values = (f"{value:.6f}" for value in found.probabilities[row])
        yield (found.site, found.images[row], found.names[row], found.patients[row], label, joined(named), *values)


def _show(report: dict[str, Metrics], *, machine: bool) -> None:
    if machine:
        typer.echo(json.dumps(plain(report), indent=2))
        return
    names = tuple({name: None for metrics in report.values() for name in metrics})
    table = folding("figure", *(escape(site) for site in report))
    for name in names:
        table.add_row(
            escape(words(name)), *(escape(str(metrics[name])) if name in metrics else "" for metrics in report.values())
        )
    if names:
        output().print(table)
