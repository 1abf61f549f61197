"""``fedward compare``: several specs, several seeds, one table."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from fedward_cli import hospitals
from fedward_cli.comparison import Comparison, compare_arms
from fedward_cli.comparison_report import show_comparison, write_comparison
from fedward_cli.consoles import tell
from fedward_cli.execution import execute, job_for
from fedward_cli.options import AsJson, DataFolder, EngineName, Fresh, Workers
from fedward_cli.predictions import read_predictions
from fedward_cli.results import Results
from fedward_cli.stage_ledger import StageLedger
from fedward_core.cards import Task
from fedward_core.engine import Job
from fedward_core.errors import SpecError
from fedward_core.spec import Spec


class MetricName(StrEnum):
    """The figure that arms are compared by."""

    BALANCED_ACCURACY = "balanced_accuracy"
    ACCURACY = "accuracy"
    AUROC = "auroc"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How a comparison is carried out: where the data lies, where everything goes, and the options of the command."""

    data: Path
    out: Path
    seeds: int
    metric: MetricName = MetricName.BALANCED_ACCURACY
    engine: str = "inline"
    workers: int = 1
    fresh: bool = False


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
    plan = Plan(data=data, out=out, seeds=seeds, metric=metric, engine=engine, workers=workers, fresh=fresh)
    comparison = run_arms(arms, plan)
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


def run_arms(arms: Sequence[Spec], plan: Plan, carry_out: Callable[[Job], Results] | None = None) -> Comparison:
    """Run every arm with every seed, all arms of a seed before the next seed, and write tables and the figure.

    Args:
        arms: The arms.
        plan: How they are compared.
        carry_out: Brings one job to its end; left out, the plan's engine does, in this process.

    Raises:
        FedwardError: A run failed; those before it are kept.
    """
    carry_out = carry_out or partial(execute, engine=plan.engine, fresh=plan.fresh)
    cards = hospitals.cards(plan.data, arms[0])
    results: dict[str, list[Results]] = {arm.name: [] for arm in arms}
    ledger = StageLedger()
    for seed in range(plan.seeds):
        for arm in arms:
            tell(f"\n[bold]Arm {arm.name}, seed {seed}[/]")
            job = job_of_arm(arm, seed, plan)
            results[arm.name].append(ledger.charge(job.spec, with_predictions(job, carry_out(job))))
    split = arms[0].evaluate.split
    comparison = compare_arms(results, cards, metric=plan.metric, seeds=range(plan.seeds), split=split)
    write_comparison(plan.out, comparison)
    return comparison


def job_of_arm(arm: Spec, seed: int, plan: Plan) -> Job:
    """The job of one arm and one seed, in a folder of its own, with the stages that all arms share."""
    evaluate = arm.evaluate.model_copy(update={"keep_predictions": True})
    seeded = arm.model_copy(update={"seed": seed, "evaluate": evaluate})
    sites = hospitals.taking_part(plan.data, seeded)
    out, shelf = plan.out / arm.name / f"seed-{seed}", plan.out / "stages"
    return job_for(seeded, sites=sites, data=plan.data, out=out, workers=plan.workers, reuse=shelf)


def with_predictions(job: Job, results: Results) -> Results:
    """A run's results with what its sites predicted for every image, where they are simulated."""
    found = read_predictions(job.out, job.spec.stages[-1].name, results.final)
    return replace(results, predictions=found if found.keys() == results.final.keys() else {})


def _check_comparable(first: Spec, arm: Spec) -> None:
    if arm.dataset.task is not Task.CLASSIFICATION:
        raise SpecError(f"arm '{arm.name}': expected the task classification, found {arm.dataset.task}")
    for name in ("cohort.sites", "dataset.name", "dataset.classes"):
        ours, theirs = (attrgetter(name)(spec) for spec in (first, arm))
        if ours != theirs:
            raise SpecError(f"arms '{first.name}' and '{arm.name}' can't be compared: {name} is {ours} and {theirs}")
