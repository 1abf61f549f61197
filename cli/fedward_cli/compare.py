"""``fedward compare``: several specs, several seeds, one table."""

import csv
import json
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from fedward_cli import hospitals
from fedward_cli.comparison import SITE_PRIOR, Comparison, Row, compare_arms
from fedward_cli.consoles import errors, output
from fedward_cli.execution import execute, job_for
from fedward_cli.options import AsJson, EngineName, Workers
from fedward_cli.results import Results
from fedward_cli.stage_ledger import StageLedger
from fedward_cli.tables import as_bytes, markdown, words
from fedward_core.engine import Job
from fedward_core.errors import SpecError
from fedward_core.spec import Spec


class MetricName(StrEnum):
    """The figure that arms are compared by."""

    BALANCED_ACCURACY = "balanced_accuracy"
    ACCURACY = "accuracy"
    AUROC = "auroc"


def compare(  # noqa: PLR0913, PLR0917 - one argument for each option
    specs: Annotated[
        list[Path], typer.Argument(help="Two or more specs; each is an arm, the first is the baseline.", exists=True)
    ],
    data: Annotated[Path, typer.Option("--data", help="A folder with one folder for each site.", file_okay=False)],
    out: Annotated[Path, typer.Option("--out", help="Where runs, tables and figures go.", file_okay=False)],
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="How many seeds; each draws its labels anew.")] = 5,
    metric: Annotated[MetricName, typer.Option(help="The figure to compare by.")] = MetricName.BALANCED_ACCURACY,
    engine: EngineName = "inline",
    workers: Workers = 1,
    as_json: AsJson = False,
) -> None:
    """Run several specs with the same seeds on the same sites, and set their figures side by side.

    Stages that several arms share are computed once. Seed N takes the place of each spec's own seed, and so draws the
    labelled images, the first weights and the order of images anew. After an interruption the same command goes on;
    runs that are finished are read.

    Example: `fedward compare local.yaml scratch.yaml ssl_fl.yaml --data hospitals/ --out runs/comparison --seeds 5`
    """
    arms = read_arms(specs)
    comparison = run_arms(arms, data=data, out=out, seeds=seeds, metric=metric, engine=engine, workers=workers)
    if as_json:
        typer.echo(comparison.model_dump_json(indent=2))
        return
    show_comparison(comparison)
    errors().print(f"Tables, figures and runs are in '{out}'.")


def read_arms(paths: Sequence[Path]) -> tuple[Spec, ...]:
    """Read specs as arms.

    Raises:
        SpecError: A spec is wrong, two have the same name, or they are about different data.
    """
    arms = tuple(Spec.read(path) for path in paths)
    names = [arm.name for arm in arms]
    if len(set(names)) < len(names):
        raise SpecError(
            f"each arm needs a name of its own, found {', '.join(names)}: change 'name' in one of the specs"
        )
    for arm in arms[1:]:
        for key in ("name", "classes", "task"):
            ours, theirs = getattr(arms[0].dataset, key), getattr(arm.dataset, key)
            if ours != theirs:
                raise SpecError(
                    f"arms '{arms[0].name}' and '{arm.name}' can't be compared: dataset.{key} is {ours} and {theirs}"
                )
    return arms


def run_arms(  # noqa: PLR0913 - what a comparison consists of
    arms: Sequence[Spec],
    *,
    data: Path,
    out: Path,
    seeds: int,
    metric: MetricName,
    engine: str,
    workers: int,
) -> Comparison:
    """Run every arm with every seed, all arms of a seed before the next seed, and write tables and the figure.

    Raises:
        FedwardError: A run failed; those before it are kept.
    """
    results: dict[str, list[Results]] = {arm.name: [] for arm in arms}
    ledger = StageLedger()
    for seed in range(seeds):
        for arm in arms:
            errors().rule(f"{arm.name}, seed {seed}", style="dim")
            job = job_of_arm(arm, seed, data=data, out=out, workers=workers)
            results[arm.name].append(ledger.charge(job.spec, execute(job, engine=engine)))
    cards = hospitals.cards(data, arms[0])
    comparison = compare_arms(results, cards, metric=metric, seeds=range(seeds))
    write_comparison(out, comparison)
    return comparison


def job_of_arm(arm: Spec, seed: int, *, data: Path, out: Path, workers: int = 1) -> Job:
    """The job of one arm and one seed, in a folder of its own, with the stages that all arms share."""
    seeded = arm.model_copy(update={"seed": seed})
    sites = hospitals.taking_part(data, seeded)
    folder = out / arm.name / f"seed-{seed}"
    return job_for(seeded, sites=sites, data=data, out=folder, workers=workers, reuse=out / "stages")


def show_comparison(comparison: Comparison) -> None:
    """Print the table with what must be known to read it."""
    header, rows = cells(comparison)
    table = Table(*header, title=words(comparison.metric), title_justify="left", caption_justify="left")
    for row in rows:
        table.add_row(*row, style="dim" if row[0] == SITE_PRIOR else None)
    output().print(table)
    for note in notes(comparison):
        output().print(f"[dim]{note}[/]")


def cells(comparison: Comparison) -> tuple[list[str], list[list[str]]]:
    """The header and the rows of the table."""
    header = ["arm", *comparison.sites, "mean of sites", "pooled", "difference", "worst site", "sent"]
    return header, [_cells(row, comparison.sites) for row in comparison.rows]


def notes(comparison: Comparison) -> tuple[str, ...]:
    """What must be known to read the table."""
    count = len(comparison.seeds)
    what = "over 1 seed: no interval" if count == 1 else f"over {count} seeds; intervals resample the seeds"
    sentences = [
        f"{words(comparison.metric).capitalize()} on the test images, averaged {what}, paired with the first arm.",
        "n counts test images. The mean of sites weighs every site alike; pooled is over all test images together.",
        f"'{SITE_PRIOR}' names each site's commonest training class whatever the image shows.",
    ]
    if any(figure.recall for row in comparison.rows for figure in row.sites.values()):
        sentences.append("A site with test images of one class shows its recall, and is not part of the mean.")
    if all(row.pooled.value is None for row in comparison.rows):
        sentences.append(
            f"{words(comparison.metric)} of pooled images would need every prediction, which stays at its site."
        )
    return tuple(sentences)


def write_comparison(out: Path, comparison: Comparison) -> None:
    """Write ``comparison.md``, ``.csv``, ``.json`` and ``.png``."""
    from fedward_cli.plots import draw_comparison  # noqa: PLC0415 - matplotlib is slow to import

    header, rows = cells(comparison)
    text = markdown(header, rows) + "\n" + "\n".join(f"- {note}" for note in notes(comparison)) + "\n"
    (out / "comparison.md").write_text(text, encoding="utf-8")
    (out / "comparison.json").write_text(json.dumps(comparison.model_dump(), indent=2) + "\n", encoding="utf-8")
    _write_csv(out / "comparison.csv", comparison)
    draw_comparison(comparison, out / "comparison.png")


def _write_csv(path: Path, comparison: Comparison) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("arm", "place", "metric", "value", "n", "difference", "low", "high"))
        for row in comparison.rows:
            for site, figure in row.sites.items():
                metric = "recall" if figure.recall else comparison.metric
                writer.writerow((row.arm, site, metric, figure.value, figure.n, None, None, None))
            difference = row.difference.model_dump().values() if row.difference else (None, None, None)
            writer.writerow((row.arm, "mean", comparison.metric, row.mean.value, row.mean.n, *difference))
            writer.writerow((row.arm, "pooled", comparison.metric, row.pooled.value, row.pooled.n, None, None, None))


def _cells(row: Row, sites: Sequence[str]) -> list[str]:
    figures = [str(row.sites[site]) if site in row.sites else "" for site in sites]
    difference = str(row.difference) if row.difference else ""
    sent = "" if row.arm == SITE_PRIOR else as_bytes(row.bytes_sent)
    return [row.arm, *figures, str(row.mean), str(row.pooled), difference, row.worst or "", sent]
