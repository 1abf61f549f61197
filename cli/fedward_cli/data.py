"""``fedward data``: simulated hospitals, a look at data, and one site cut into several. Nothing here needs torch."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from fedward_cli.consoles import output, tell
from fedward_cli.faults import PoliteGroup
from fedward_cli.options import AsJson
from fedward_core.cards import DatasetCard, Split, Task
from fedward_core.spec import Dataset

if TYPE_CHECKING:
    from fedward_models.data.inspection import SiteSummary

app = typer.Typer(
    cls=PoliteGroup, no_args_is_help=True, rich_markup_mode="markdown", help="Make, look at and cut data, site by site."
)

Target = Annotated[Path, typer.Option("--out", help="The folder to write sites into.", file_okay=False)]
Source = Annotated[
    Path, typer.Argument(help="A folder with one .npz file or one folder for each site.", exists=True, file_okay=False)
]
Seed = Annotated[int, typer.Option("--seed", min=0, help="The same seed gives the same files.")]


@app.command("generate")
def generate(
    out: Target,
    sites: Annotated[int, typer.Option(min=1, help="How many hospitals.")] = 3,
    images: Annotated[int, typer.Option(min=1, help="Images of each hospital.")] = 200,
    px: Annotated[int, typer.Option("--px", min=16, help="Height and width of an image, in pixels.")] = 64,
    seed: Seed = 0,
) -> None:
    """Simulate hospitals: films of patients who never lived, with differences between sites as between real ones.

    For example `fedward data generate --out hospitals/ --sites 3`
    """
    from fedward_models.data import generate as generate_hospitals  # noqa: PLC0415 - imported where it is used

    paths = generate_hospitals(out, sites=sites, images_per_site=images, image_px=px, seed=seed)
    _tell_written(paths, out)


@app.command("inspect")
def inspect(  # noqa: PLR0913, PLR0917 - one argument for each option
    data: Source,
    px: Annotated[int, typer.Option("--px", min=8, help="Look at images resized to this height and width.")] = 64,
    classes: Annotated[str, typer.Option(help="Class names in the order of their numbers, with commas.")] = "",
    task: Annotated[Task, typer.Option(help="What the labels mean.")] = Task.CLASSIFICATION,
    picture: Annotated[Path | None, typer.Option(help="Draw intensities, classes and examples into this PNG.")] = None,
    as_json: AsJson = False,
) -> None:
    """Count images, patients and classes of each site and split, and list files that cannot be used.

    The table names files and the picture shows images: both are for the eyes of those who may see the data.

    For example `fedward data inspect hospitals/ --classes normal,pneumonia --picture hospitals.png`
    """
    from fedward_models.data import inspect as look_at  # noqa: PLC0415 - imported where it is used

    summaries = look_at(data, _dataset(data, px, classes, task))
    if as_json:
        typer.echo(f"[{', '.join(summary.card.model_dump_json() for summary in summaries)}]")
    else:
        _show(summaries)
    if picture is not None:
        from fedward_models.data import inspect_picture  # noqa: PLC0415 - imports matplotlib

        inspect_picture(summaries, picture)
        tell(f"Drawn into '{escape(str(picture))}'.")


@app.command("split")
def split(  # noqa: PLR0913, PLR0917 - one argument for each option
    data: Source,
    out: Target,
    site: Annotated[list[str], typer.Option("--site", help="The site to cut; may be given several times.")],
    parts: Annotated[int, typer.Option(min=2, help="Pseudo-sites to make of each.")] = 3,
    alpha: Annotated[
        float | None, typer.Option(min=0.0, help="Skew the classes: Dirichlet concentration, small is more skewed.")
    ] = None,
    seed: Seed = 0,
) -> None:
    """Cut a site into pseudo-sites by patient, to study many small hospitals with the images of a large one.

    With --alpha images are dealt one by one with skewed classes, so a patient may be at several pseudo-sites.

    For example `fedward data split xrays/ --site nih --site guangzhou --parts 3 --out cut/`
    """
    from fedward_models.data import split_dirichlet, split_site  # noqa: PLC0415 - imported where it is used

    for name in site:
        if alpha is None:
            _tell_written(split_site(data, name, parts, out, seed), out)
        else:
            _tell_written(split_dirichlet(data, name, parts, out, alpha=alpha, seed=seed), out)


def _dataset(data: Path, px: int, classes: str, task: Task) -> Dataset:
    names = tuple(name.strip() for name in classes.split(",") if name.strip())
    return Dataset(name=data.resolve().name or "data", image_px=px, classes=names, task=task)


def _show(summaries: Sequence["SiteSummary"]) -> None:
    table = Table("site", "split", "images", "patients", "classes", "sizes", "skipped", title_justify="left")
    for summary in summaries:
        for index, part in enumerate(Split):
            of_site = (_sizes(summary), str(summary.card.num_skipped)) if index == 0 else ("", "")
            card = summary.card
            counts = (str(card.num_images[part]), str(card.num_patients[part]))
            table.add_row(card.site if index == 0 else "", part, *counts, _classes(card, part), *of_site)
        table.add_section()
    output().print(table)
    for summary in summaries:
        for bad in summary.bad:
            output().print(f"[yellow]{summary.card.site}[/]: {escape(bad.name)}: {escape(bad.reason)}")


def _classes(card: DatasetCard, part: Split) -> str:
    counts = card.class_counts.get(part, ())
    return ", ".join(f"{name} {count}" for name, count in zip(card.contract.classes, counts, strict=False))


def _sizes(summary: "SiteSummary") -> str:
    smallest, largest = ("x".join(map(str, size)) for size in (summary.smallest, summary.largest))
    return smallest if smallest == largest else f"{smallest} to {largest}"


def _tell_written(paths: Sequence[Path], out: Path) -> None:
    tell(escape(f"Wrote {', '.join(path.name for path in paths)} into '{out}'."))
