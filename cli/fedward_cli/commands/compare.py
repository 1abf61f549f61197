"""``fedward compare``: several specs, several seeds, one table."""

from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from operator import attrgetter
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from fedward_cli.comparison.arm_runs import MetricName, Part, Plan, parts_of, remove_shared
from fedward_cli.comparison.comparison import Comparison, compare_arms
from fedward_cli.comparison.outcomes import Outcomes
from fedward_cli.comparison.report import show_comparison, write_comparison
from fedward_cli.comparison.side_by_side import Run, carry_all_out
from fedward_cli.comparison.tuning import Grid
from fedward_cli.comparison.tuning import tune as tune_arms
from fedward_cli.display.consoles import tell
from fedward_cli.options import AsJson, DataFolder, EngineName, Fresh, Workers
from fedward_cli.simulation import hospitals
from fedward_cli.simulation.results import Results
from fedward_core.cards import Task
from fedward_core.engine import Job
from fedward_core.errors import FedwardError, SpecError
from fedward_core.spec import Spec


class HoldOut(StrEnum):
    """Which sites only evaluate."""

    EACH = "each"


def compare(  # noqa: PLR0913, PLR0917 - one argument for each option
    specs: Annotated[
        list[Path], typer.Argument(help="Two or more specs; each is an arm, the first is the baseline.", exists=True)
    ],
    data: DataFolder,
    out: Annotated[Path, typer.Option("--out", help="Where runs, tables and figures go.", file_okay=False)],
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="How many seeds; each draws its labels anew.")] = 5,
    metric: Annotated[MetricName, typer.Option(help="The figure to compare by.")] = MetricName.BALANCED_ACCURACY,
    engine: EngineName = "inline",
    workers: Workers = 1,
    jobs: Annotated[
        int, typer.Option("--jobs", min=1, help="Runs side by side, each a process. Results do not depend on it.")
    ] = 1,
    alone: Annotated[
        list[str] | None, typer.Option("--alone", help="An arm that each site trains alone, stage after stage.")
    ] = None,
    pooled: Annotated[
        list[str] | None, typer.Option("--pooled", help="An arm trained on all sites' images as one site's.")
    ] = None,
    hold_out: Annotated[
        HoldOut | None, typer.Option("--hold-out", help="`each`: each site in turn never trains, and is evaluated.")
    ] = None,
    tune: Annotated[
        Path | None, typer.Option("--tune", help="A YAML file with what every arm tries first.", exists=True)
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
    _check_names(arms, plan)
    if fresh:
        remove_shared(plan)
    comparison = run_tuned(arms, Grid.read(tune), plan) if tune else run_arms(arms, plan)
    if as_json:
        typer.echo(comparison.model_dump_json(indent=2))
        return
    show_comparison(comparison)
    tell(f"Tables, figures and runs are in '{escape(str(out))}'.")


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
    for arm in arms:
        _check_comparable(arms[0], arm)
    return arms


def run_tuned(arms: Sequence[Spec], grid: Grid, plan: Plan) -> Comparison:
    """Tune every arm with one budget, then compare them.

    Raises:
        SpecError: The grid does not fit the arms.
        FedwardError: Runs failed.
    """
    chosen, tuning = tune_arms(arms, grid, plan)
    (plan.out / "tuning.json").write_text(tuning.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return run_arms(chosen, plan, remarks=(str(tuning),))


def run_arms(
    arms: Sequence[Spec],
    plan: Plan,
    carry_out: Callable[[Job], Results] | None = None,
    *,
    remarks: tuple[str, ...] = (),
) -> Comparison:
    """Run every arm with every seed, all arms of a seed before the next seed, and write tables and the figure.

    Args:
        arms: The arms.
        plan: How they are compared.
        carry_out: Brings one job to its end, in this process; left out, the plan's engine does, in as many processes
            as the plan says.
        remarks: What else stands below the table.

    Raises:
        FedwardError: Runs failed, and are named. All others are kept, and the table is over the seeds without failures.
    """
    cards = hospitals.cards(plan.data, arms[0])
    cells = {(arm.name, seed): parts_of(arm, seed, plan) for seed in range(plan.seeds) for arm in arms}
    runs = [Run(name=_title(cell, part), job=part.job) for cell, parts in cells.items() for part in parts]
    outcomes = Outcomes(carry_all_out(runs, plan, carry_out), plan.out)
    seeds = [seed for seed in range(plan.seeds) if outcomes.has_all(cells[arm.name, seed] for arm in arms)]
    if not seeds:
        raise FedwardError(outcomes.complaint())
    results = {arm.name: [outcomes.of(cells[arm.name, seed]) for seed in seeds] for arm in arms}
    comparison = compare_arms(results, cards, metric=plan.metric, seeds=seeds, split=arms[0].evaluate.split)
    comparison = comparison.model_copy(update={"remarks": (*remarks, *_remarks(plan), *outcomes.remarks())})
    write_comparison(plan.out, comparison)
    if outcomes.failed:
        raise FedwardError(outcomes.complaint())
    return comparison


def _title(cell: tuple[str, int], part: Part) -> str:
    """E.g. ``ssl_fl, seed 0``; a run that is one of several is told by its folder."""
    arm, seed = cell
    folder = part.job.out.name
    return f"{arm}, seed {seed}" if folder == f"seed-{seed}" else f"{arm}, seed {seed}, {folder}"


def _remarks(plan: Plan) -> Iterator[str]:
    if plan.alone:
        yield f"Each site trained {', '.join(sorted(plan.alone))} alone, so nothing was sent."
    if plan.pooled:
        yield f"All images were pooled for {', '.join(sorted(plan.pooled))}, so its steps are those of one site."
    if plan.hold_out_each:
        yield "Each site's figure is of models that were trained at the other sites only."


def _check_names(arms: Sequence[Spec], plan: Plan) -> None:
    names = [arm.name for arm in arms]
    for option, given in {"--alone": plan.alone, "--pooled": plan.pooled}.items():
        if unknown := sorted(given - set(names)):
            raise SpecError(f"{option} names {', '.join(unknown)}, which is no arm: expected one of {', '.join(names)}")
    if both := sorted(plan.alone & plan.pooled):
        raise SpecError(f"{', '.join(both)} cannot be trained alone and pooled: choose one")


def _check_comparable(first: Spec, arm: Spec) -> None:
    if arm.dataset.task is not Task.CLASSIFICATION:
        raise SpecError(f"arm '{arm.name}': expected the task classification, found {arm.dataset.task}")
    for name in ("cohort.sites", "dataset.name", "dataset.classes"):
        ours, theirs = (attrgetter(name)(spec) for spec in (first, arm))
        if ours != theirs:
            raise SpecError(f"arms '{first.name}' and '{arm.name}' can't be compared: {name} is {ours} and {theirs}")
