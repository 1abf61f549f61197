"""Every arm tuned with one budget, on the validation split, with a seed outside of the compared ones.

seed: 1000
settings:                                           # every arm tries each combination
  stages.last.local.optimizer.lr: [0.001, 0.003]
arms:                                               # an arm may try others instead, but as many
  ssl_fl:
    stages.finetune.local.optimizer.lr: [0.003, 0.01]
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any, Self

from pydantic import Field, ValidationError

from fedward_cli.comparison.arm_runs import Part, Plan, parts_of, results_of
from fedward_cli.comparison.side_by_side import Run, carry_all_out
from fedward_cli.simulation.averages import mean_over_sites
from fedward_cli.simulation.results import Results
from fedward_core.cards import Split
from fedward_core.config import Frozen
from fedward_core.engine import Job
from fedward_core.errors import FedwardError, SpecError, without_folder
from fedward_core.metric import Metric, Metrics
from fedward_core.spec import Spec
from fedward_core.yaml_file import read_yaml

LAST = "last"
Settings = dict[str, Any]
Tried = tuple[Settings, Mapping[str, Metrics]]


class Grid(Frozen):
    """What is tried.

    Attributes:
        seed: The seed of every trial.
        settings: What every arm tries: values by the setting's place in the spec, such as
            ``stages.last.local.optimizer.lr``. A stage is told by its name, or is the ``last``.
        arms: What single arms try instead.
    """

    seed: int = Field(ge=0)
    settings: dict[str, tuple[Any, ...]]
    arms: dict[str, dict[str, tuple[Any, ...]]] = Field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a YAML file.

        Raises:
            SpecError: It is no such file, or has a key twice in one table.
        """
        try:
            return cls.model_validate(read_yaml(path))
        except ValidationError as error:
            faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
            raise SpecError(
                f"the grid '{path.name}' is wrong: expected 'seed' and 'settings', lists of values by place: {faults}"
            ) from None
        except (OSError, ValueError) as error:
            raise SpecError(f"cannot read the grid '{path.name}': {without_folder(error, path)}") from error

    def trials(self, arm: str) -> list[Settings]:
        """Every combination that an arm tries."""
        grid = self.arms.get(arm, self.settings)
        return [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]


class Trial(Frozen):
    """One combination, with the mean over sites on the validation split."""

    settings: Settings
    reached: Metric


class Tuning(Frozen):
    """What was tried, and so how much each arm was tuned.

    Attributes:
        seed: The seed of every trial.
        budget: The trials of each arm.
        arms: The trials of each arm; the chosen one is first.
    """

    seed: int
    budget: int
    arms: dict[str, tuple[Trial, ...]]

    def __str__(self) -> str:
        """The whole budget, in sentences."""
        heads = f"Every arm was tuned with {self.budget} trials on the validation split, with seed {self.seed}."
        return " ".join((heads, *(f"{arm}: {_sentence(trials)}." for arm, trials in self.arms.items())))


def tune(
    arms: Sequence[Spec], grid: Grid, plan: Plan, carry_out: Callable[[Job], Results] | None = None
) -> tuple[tuple[Spec, ...], Tuning]:
    """Try every combination for every arm, and choose the best by the plan's figure.

    Args:
        arms: The arms.
        grid: What is tried.
        plan: How the arms are compared afterwards; trials go to a folder of their own.
        carry_out: As in ``running.run_arms``.

    Returns:
        The arms with the settings that were best on the validation split, of equals the first, and what was tried.

    Raises:
        SpecError: The budgets differ, the seed is one of those compared, a place is none of the spec, or an arm would
            be compared on the split that chooses.
        FedwardError: A trial failed.
    """
    _check(arms, grid, plan)
    trials = [(arm, number, settings) for arm in arms for number, settings in enumerate(grid.trials(arm.name))]
    parts = [_parts(tuned(arm, settings), number, grid, plan) for arm, number, settings in trials]
    reached = _carry_out(trials, parts, plan, carry_out)
    tried: dict[str, list[Tried]] = {arm.name: [] for arm in arms}
    for (arm, _, settings), results in zip(trials, reached, strict=True):
        tried[arm.name].append((settings, _of_training_sites(arm, results)))
    ordered = {name: tuple(sorted(_judged(of_arm, plan.metric), key=_rank)) for name, of_arm in tried.items()}
    tuning = Tuning(seed=grid.seed, budget=len(trials) // len(arms), arms=ordered)
    return tuple(tuned(arm, ordered[arm.name][0].settings) for arm in arms), tuning


def tuned(arm: Spec, settings: Mapping[str, Any]) -> Spec:
    """An arm with other settings.

    Raises:
        SpecError: A place is none of the arm's, or a value is wrong there.
    """
    values = arm.model_dump(mode="json")
    for place, value in settings.items():
        _put(values, place, value, arm.name)
    return Spec.parse(values)


def _check(arms: Sequence[Spec], grid: Grid, plan: Plan) -> None:
    names = [arm.name for arm in arms]
    if unknown := sorted(set(grid.arms) - set(names)):
        raise SpecError(f"the grid names {', '.join(unknown)}, which is no arm: expected one of {', '.join(names)}")
    if grid.seed < plan.seeds:
        raise SpecError(f"the grid's seed {grid.seed} is one of the {plan.seeds} that are compared: choose another")
    if other := [arm.name for arm in arms if arm.evaluate.split is not Split.TEST]:
        raise SpecError(
            "trials choose on the validation split, so arms are compared on the test split: leave evaluate.split out "
            f"of {', '.join(other)}"
        )
    if plan.hold_out_each:
        raise SpecError("trials read every site's validation images, so no site would be held out: tune without that")
    budgets = {name: len(grid.trials(name)) for name in names}
    if len(set(budgets.values())) > 1:
        told = ", ".join(f"{name} {budget}" for name, budget in budgets.items())
        raise SpecError(f"every arm needs as many trials as any other, found {told}: add or leave out values")
    if min(budgets.values()) < 2:
        raise SpecError("one trial chooses nothing: give at least two values, or compare without tuning")


def _parts(arm: Spec, number: int, grid: Grid, plan: Plan) -> tuple[Part, ...]:
    """The runs of a trial. The test split is not touched."""
    evaluate = arm.evaluate.model_copy(update={"split": Split.VALIDATION})
    place = replace(plan, out=plan.out / "tuning" / f"trial-{number}", shared=plan.out)
    return parts_of(arm.model_copy(update={"evaluate": evaluate}), grid.seed, place)


def _carry_out(
    trials: Sequence[tuple[Spec, int, Settings]],
    parts: Sequence[Sequence[Part]],
    plan: Plan,
    carry_out: Callable[[Job], Results] | None,
) -> list[Results]:
    runs = [
        Run(name=f"{arm.name}, trial {number} {part.job.out.name}", job=part.job)
        for (arm, number, _), several in zip(trials, parts, strict=True)
        for part in several
    ]
    outcomes: dict[Path, Results] = {}
    for run, outcome in carry_all_out(runs, plan, carry_out):
        if isinstance(outcome, str):
            raise FedwardError(f"{run.name} failed, so arms cannot be tuned alike: {outcome}")
        outcomes[run.job.out] = outcome
    return [results_of(several, [outcomes[part.job.out] for part in several]) for several in parts]


def _of_training_sites(arm: Spec, results: Results) -> dict[str, Metrics]:
    """A site that is held out chooses nothing: it stands for hospitals whose images nobody has."""
    return {site: figures for site, figures in results.final.items() if site not in arm.cohort.hold_out}


def _judged(tried: Sequence[Tried], metric: str) -> Iterator[Trial]:
    """Each with its mean over sites: undefined where a site diverged, or told nothing, that told figures in another."""
    everyone = {site for _, figures in tried for site in figures}
    for settings, figures in tried:
        complete = figures.keys() == everyone
        yield Trial(
            settings=settings, reached=mean_over_sites(figures, metric) if complete else Metric(value=None, n=0)
        )


def _put(values: dict[str, Any], place: str, value: Any, arm: str) -> None:
    *parents, key = place.split(".")
    table: Any = values
    for parent in parents:
        table = _stage(table, parent) if isinstance(table, list) else _entry(table, parent)
    if not isinstance(table, dict) or key not in table:
        raise SpecError(f"arm '{arm}' has no setting '{place}': expected e.g. stages.{LAST}.local.optimizer.lr")
    table[key] = value


def _entry(table: Any, key: str) -> Any:
    return table.get(key) if isinstance(table, dict) else None


def _stage(stages: list[dict[str, Any]], name: str) -> Any:
    return stages[-1] if name == LAST else next((stage for stage in stages if stage.get("name") == name), None)


def _rank(trial: Trial) -> float:
    """The best first; what is undefined is worst, and equals keep their order."""
    return float("inf") if trial.reached.value is None else -trial.reached.value


def _sentence(trials: Sequence[Trial]) -> str:
    tried = [f"{_settings(trial)} ({trial.reached})" for trial in trials]
    return f"{tried[0]} chosen before {', '.join(tried[1:])}" if tried[1:] else f"{tried[0]}, the only trial"


def _settings(trial: Trial) -> str:
    return ", ".join(f"{place.rpartition('.')[2]} {value}" for place, value in trial.settings.items())
