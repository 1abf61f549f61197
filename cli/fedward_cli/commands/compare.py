"""``fedward compare``: several specs, several seeds, one table."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from fedward_cli.comparison.arm_runs import MetricName, Plan, remove_shared
from fedward_cli.comparison.arms import check_names, read_arms
from fedward_cli.comparison.report import show_comparison
from fedward_cli.comparison.running import run_arms, run_tuned
from fedward_cli.comparison.tuning import Grid
from fedward_cli.display.consoles import tell
from fedward_cli.options import CARRYING_OUT, AsJson, DataFolder, EngineName, Fresh, Workers, spec_file

_ARMS = "How arms are trained"  # a panel of the help


class HoldOut(StrEnum):
    """Which sites only evaluate."""

    EACH = "each"


def compare(
    specs: Annotated[
        list[Path],
        typer.Argument(
            help="Specs, YAML files or recipe:NAME; each is an arm, the first is the baseline.",
            parser=spec_file,
            metavar="SPEC...",
        ),
    ],
    data: DataFolder,
    out: Annotated[Path, typer.Option("--out", help="Where runs, tables and figures go.", file_okay=False)],
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="How many seeds; each draws its labels anew.")] = 5,
    metric: Annotated[MetricName, typer.Option(help="The figure to compare by.")] = MetricName.BALANCED_ACCURACY,
    engine: EngineName = "inline",
    workers: Workers = 1,
    jobs: Annotated[
        int,
        typer.Option(
            "--jobs",
            min=1,
            help="Runs side by side, each a process. Results do not depend on it.",
            rich_help_panel=CARRYING_OUT,
        ),
    ] = 1,
    alone: Annotated[
        list[str] | None,
        typer.Option("--alone", help="An arm that each site trains alone, stage after stage.", rich_help_panel=_ARMS),
    ] = None,
    pooled: Annotated[
        list[str] | None,
        typer.Option("--pooled", help="An arm trained on all sites' images as one site's.", rich_help_panel=_ARMS),
    ] = None,
    hold_out: Annotated[
        HoldOut | None,
        typer.Option(
            "--hold-out", help="`each`: each site in turn never trains, and is evaluated.", rich_help_panel=_ARMS
        ),
    ] = None,
    tune: Annotated[
        Path | None,
        typer.Option(
            "--tune",
            help="A YAML file with what every arm tries first.",
            exists=True,
            dir_okay=False,
            rich_help_panel=_ARMS,
        ),
    ] = None,
    fresh: Fresh = False,
    as_json: AsJson = False,
) -> None:
    """Run several specs with the same seeds on the same sites, and set their figures side by side.

    Stages that several arms share are computed once. Seed N takes the place of each spec's own seed, and so draws the
    labelled images, the first weights and the order of images anew. After an interruption the same command goes on;
    runs that are finished are read.

    For example `fedward compare local.yaml scratch.yaml ssl_fl.yaml --data hospitals/ --out runs/comparison --seeds 5`
    """
    arms = read_arms(specs)
    plan = Plan(
        data=data,
        out=out,
        seeds=seeds,
        metric=metric,
        engine=engine,
        workers=workers,
        jobs=jobs,
        fresh=fresh,
        alone=frozenset(alone or ()),
        pooled=frozenset(pooled or ()),
        hold_out_each=hold_out is HoldOut.EACH,
    )
    check_names(arms, plan)
    if fresh:
        remove_shared(plan)
    comparison = run_tuned(arms, Grid.read(tune), plan) if tune else run_arms(arms, plan)
    if as_json:
        typer.echo(comparison.model_dump_json(indent=2))
        return
    show_comparison(comparison)
    tell(f"Tables, figures and runs are in '{escape(str(out))}'.")
