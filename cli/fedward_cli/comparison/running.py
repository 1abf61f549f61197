"""Runs every arm with every seed, tuned before if so wished, and sets the figures side by side."""

from collections.abc import Callable, Iterator, Sequence

from fedward_cli.comparison.arm_runs import Part, Plan, parts_of
from fedward_cli.comparison.comparison import Comparison, compare_arms
from fedward_cli.comparison.outcomes import Outcomes
from fedward_cli.comparison.report import write_comparison
from fedward_cli.comparison.side_by_side import Run, carry_all_out
from fedward_cli.comparison.tuning import Grid, tune
from fedward_cli.simulation import hospitals
from fedward_cli.simulation.results import Results
from fedward_core.engine import Job
from fedward_core.errors import FedwardError
from fedward_core.spec import Spec


def run_tuned(arms: Sequence[Spec], grid: Grid, plan: Plan) -> Comparison:
    """Tune every arm with one budget, then compare them.

    Raises:
        SpecError: The grid does not fit the arms.
        FedwardError: Runs failed.
    """
    chosen, tuning = tune(arms, grid, plan)
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
    remarks = (*remarks, *_remarks(plan), *outcomes.remarks(), *comparison.remarks)
    comparison = comparison.model_copy(update={"remarks": remarks})
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
