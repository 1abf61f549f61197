"""Every arm is tuned with the same budget, and never on what it is compared by."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from fedward_cli.comparison.arm_runs import MetricName, Plan
from fedward_cli.comparison.tuning import Grid, tune, tuned
from fedward_cli.simulation.results import Moment, Results
from fedward_core.cards import Split
from fedward_core.engine import Job
from fedward_core.errors import FedwardError, SpecError
from fedward_core.metric import Metric
from fedward_core.spec import Spec

RATE = "stages.last.local.optimizer.lr"
GRID: dict[str, Any] = {"seed": 100, "settings": {RATE: [0.001, 0.003, 0.01]}}


class Trainer:
    """Tells that a rate of 0.003 is best, and remembers what it was asked to do."""

    def __init__(self) -> None:
        self.jobs: list[Job] = []

    def __call__(self, job: Job) -> Results:
        self.jobs.append(job)
        rate = job.spec.stages[-1].local.optimizer.model_dump()["lr"]
        figures = {"accuracy": Metric(value=1 - abs(rate - 0.003), n=7)}
        return Results(evaluations={Moment(stage="finetune", round=2, site=site): figures for site in job.sites})


@pytest.fixture
def arms(bench: Any) -> tuple[Spec, ...]:
    return tuple(Spec.read(bench.spec(name)) for name in ("first", "second"))


@pytest.fixture
def plan(bench: Any) -> Plan:
    return Plan(data=bench.data, out=bench.out, seeds=2, metric=MetricName.ACCURACY)


def test_the_best_on_the_validation_split_is_chosen_with_a_seed_that_is_not_compared(
    arms: tuple[Spec, ...], plan: Plan
) -> None:
    trainer = Trainer()
    chosen, tuning = tune(arms, Grid.model_validate(GRID), plan, trainer)
    assert [arm.stages[-1].local.optimizer.model_dump()["lr"] for arm in chosen] == [0.003, 0.003]
    assert {(job.spec.evaluate.split, job.spec.seed) for job in trainer.jobs} == {(Split.VALIDATION, 100)}
    assert len({job.out for job in trainer.jobs}) == 6
    assert {job.reuse for job in trainer.jobs} == {plan.out / "stages"}
    assert [arm.evaluate for arm in chosen] == [arm.evaluate for arm in arms]
    assert "tuned with 3 trials on the validation split, with seed 100" in str(tuning)
    assert "first: lr 0.003 (1.000 n=21) chosen before lr 0.001" in str(tuning)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 1}, "one of the 2 that are compared"),
        ({"arms": {"second": {RATE: [0.1, 0.2]}}}, "as many trials as any other"),
        ({"arms": {"third": {}}}, "which is no arm"),
        ({"settings": {RATE: [0.1]}}, "at least two"),
        ({"settings": {"stages.last.local.rate": [1, 2]}}, "no setting"),
        ({"settings": {"stages.other.rounds": [1, 2]}}, "no setting"),
        ({"settings": {RATE: [1, -2]}}, "the spec is wrong"),
    ],
)
def test_grids_that_would_not_be_fair_or_have_no_effect_are_refused(
    arms: tuple[Spec, ...], plan: Plan, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(SpecError, match=message):
        tune(arms, Grid.model_validate(GRID | change), plan, Trainer())


def test_a_site_that_is_held_out_chooses_nothing(arms: tuple[Spec, ...], plan: Plan) -> None:
    """At the sites that train 0.003 is best; the one that is held out would choose 0.01."""

    def misled(job: Job) -> Results:
        rate = job.spec.stages[-1].local.optimizer.model_dump()["lr"]
        stranger = {"accuracy": Metric(value=float(rate == 0.01), n=700)}
        evaluations = Trainer()(job).evaluations
        return Results(evaluations={m: stranger if m.site == "river" else one for m, one in evaluations.items()})

    held_out = [
        arm.model_copy(update={"cohort": arm.cohort.model_copy(update={"hold_out": ("river",), "min_sites": 2})})
        for arm in arms
    ]
    chosen, tuning = tune(held_out, Grid.model_validate(GRID), plan, misled)
    assert [arm.stages[-1].local.optimizer.model_dump()["lr"] for arm in chosen] == [0.003, 0.003]
    assert "lr 0.003 (1.000 n=14)" in str(tuning)


def test_arms_that_are_compared_on_the_split_that_chooses_are_refused(arms: tuple[Spec, ...], plan: Plan) -> None:
    first, second = arms
    on_validation = second.evaluate.model_copy(update={"split": Split.VALIDATION})
    with pytest.raises(SpecError, match=r"leave evaluate\.split out of second"):
        tune((first, second.model_copy(update={"evaluate": on_validation})), Grid.model_validate(GRID), plan, Trainer())


def test_a_trial_in_which_a_site_has_no_figure_is_never_the_best(arms: tuple[Spec, ...], plan: Plan) -> None:
    """The mean over the sites that are left may well be the greatest: the one that diverged was the hardest."""

    def diverging(job: Job) -> Results:
        results = Trainer()(job)
        rate = job.spec.stages[-1].local.optimizer.model_dump()["lr"]
        kept = {m: figures for m, figures in results.evaluations.items() if rate != 0.003 or m.site != job.sites[0]}
        return Results(evaluations=kept)

    chosen, tuning = tune(arms, Grid.model_validate(GRID), plan, diverging)
    assert [arm.stages[-1].local.optimizer.model_dump()["lr"] for arm in chosen] == [0.001, 0.001]
    assert "lr 0.003 (- n=0)" in str(tuning)


def test_an_arm_may_try_values_of_its_own_at_any_stage(arms: tuple[Spec, ...]) -> None:
    grid = Grid.model_validate(GRID | {"arms": {"second": {"stages.pretrain.rounds": [4, 5, 6]}}})
    settings = grid.trials("second")[1]
    assert tuned(arms[1], settings).stages[0].rounds == 5
    assert tuned(arms[1], {}) == arms[1]


def test_a_trial_that_fails_is_named(arms: tuple[Spec, ...], plan: Plan) -> None:
    def fail(job: Job) -> Results:
        raise FedwardError("the disk is full")

    with pytest.raises(FedwardError, match="first, trial 0"):
        tune(arms, Grid.model_validate(GRID), plan, fail)


def test_the_command_prints_the_budget_and_keeps_what_was_tried(bench: Any) -> None:
    grid = bench.folder / "grid.yaml"
    grid.write_text(yaml.safe_dump(GRID))
    arguments = ["--data", bench.data, "--out", bench.out, "--seeds", 1, "--tune", grid]
    result = bench.call("compare", bench.spec("first"), bench.spec("second"), *arguments)
    assert result.exit_code == 0, result.output
    assert "tuned with 3 trials" in result.stdout
    assert '"budget": 3' in (bench.out / "tuning.json").read_text()
    assert [job.spec.evaluate.split for job in bench.engine.jobs] == [Split.VALIDATION] * 6 + [Split.TEST] * 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("seed: [", r'(?s)cannot read the grid.* in "grid\.yaml", line 1'),
        ("seed: none", r"seed: .*; settings: Field required$"),
        ("- 1", "is wrong"),
        ("seed: 1000\nsettings: {}\nsettings: {}", "the key 'settings' stands there twice"),
    ],
)
def test_a_grid_that_cannot_be_read_is_refused(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "grid.yaml"
    path.write_text(text)
    with pytest.raises(SpecError, match=words):
        Grid.read(path)


def test_the_grid_on_chest_xrays_gives_every_arm_the_same_budget() -> None:
    folder = Path(__file__).parents[2] / "examples" / "cxr"
    grid = Grid.read(folder / "grid.yml")
    arms = {path.stem: Spec.read(path) for path in folder.glob("*.yaml")}
    assert grid.arms.keys() <= arms.keys()
    for name, arm in arms.items():
        rates = {tuned(arm, trial).stages[-1].local.optimizer.model_dump()["lr"] for trial in grid.trials(name)}
        assert len(rates) == 2
