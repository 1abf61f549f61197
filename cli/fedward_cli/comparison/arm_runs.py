"""The runs that make up one arm with one seed: usually one, over all sites.

an arm            one run                                         every site's figures
trained alone     one run for each site, a federation of one      that site's figures
pooled            one run at a site that holds all images         every site's figures, as sites held out
one held out      one run for each site, which never trains       that site's figures
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from fedward_cli.comparison.pooled_folder import pooled_folder, remove_pooled
from fedward_cli.simulation import hospitals
from fedward_cli.simulation.execution import job_for
from fedward_cli.simulation.results import Moment, Results
from fedward_core.engine import Job
from fedward_core.errors import SpecError
from fedward_core.metric import Metrics
from fedward_core.spec import Cohort, Spec

if TYPE_CHECKING:
    from fedward_core.arrays import Arrays

Value = TypeVar("Value")


class MetricName(StrEnum):
    """The figure that arms are compared by."""

    BALANCED_ACCURACY = "balanced_accuracy"
    ACCURACY = "accuracy"
    AUROC = "auroc"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How a comparison is carried out: where the data lies, where everything goes, and the options of the command.

    Attributes:
        data: The folder with the sites' datasets.
        out: Where everything goes.
        seeds: How many.
        metric: What is compared.
        engine: What carries runs out.
        workers: Sites that train side by side, within a run.
        jobs: Runs that are carried out side by side, each in a process.
        fresh: Whether runs that are there are removed.
        alone: The arms whose every stage each site trains alone.
        pooled: The arms that are trained on all sites' images as one site's.
        hold_out_each: Whether each site in turn only evaluates.
        shared: Where runs share finished stages and pooled images; ``out`` if it is not given.
    """

    data: Path
    out: Path
    seeds: int
    metric: MetricName = MetricName.BALANCED_ACCURACY
    engine: str = "inline"
    workers: int = 1
    jobs: int = 1
    fresh: bool = False
    alone: frozenset[str] = frozenset()
    pooled: frozenset[str] = frozenset()
    hold_out_each: bool = False
    shared: Path | None = None

    @property
    def stages(self) -> Path:
        """The finished stages that runs share."""
        return (self.shared or self.out) / "stages"

    @property
    def pooled_images(self) -> Path:
        """The folders of pooled images."""
        return (self.shared or self.out) / "pooled"


@dataclass(frozen=True, kw_only=True)
class Part:
    """One run of an arm.

    Attributes:
        job: The run.
        sites: The sites whose figures count.
        sends: Whether its updates would travel between hospitals.
    """

    job: Job
    sites: tuple[str, ...]
    sends: bool = True


def parts_of(arm: Spec, seed: int, plan: Plan) -> tuple[Part, ...]:
    """The runs of an arm with a seed.

    Raises:
        SpecError: A site is to be held out, and nobody else trains a model for it; or a pooled arm keeps parts of the
            model at sites.
        DataError: The images of all sites cannot be pooled.
    """
    whole = job_of_arm(arm, seed, plan)
    if arm.name in plan.alone and (plan.hold_out_each or arm.cohort.hold_out):
        raise SpecError(f"arm '{arm.name}' trains each site alone, so there is no model for a site that is held out")
    if arm.name in plan.pooled and (personal := [stage.name for stage in arm.stages if stage.personalise]):
        raise SpecError(
            f"arm '{arm.name}' is pooled, and its stage '{personal[0]}' keeps parts of the model at the site: no "
            "hospital has what the pooled site keeps. Leave 'personalise' out of it"
        )
    if arm.name in plan.alone:
        return tuple(_alone(whole, site) for site in whole.sites)
    if not plan.hold_out_each:
        return (_pooled(whole, plan) if arm.name in plan.pooled else Part(job=whole, sites=whole.sites),)
    if arm.name in plan.pooled:
        return tuple(_pooled(whole, plan, held_out=site) for site in whole.sites)
    return tuple(_without(whole, site) for site in whole.sites)


def job_of_arm(arm: Spec, seed: int, plan: Plan) -> Job:
    """The job of one arm and one seed over all sites, in a folder of its own, with the stages that all arms share."""
    evaluate = arm.evaluate.model_copy(update={"keep_predictions": True})
    seeded = arm.model_copy(update={"seed": seed, "evaluate": evaluate})
    sites = hospitals.taking_part(plan.data, seeded)
    out = plan.out / arm.name / f"seed-{seed}"
    return job_for(seeded, sites=sites, data=plan.data, out=out, workers=plan.workers, reuse=plan.stages)


def remove_shared(plan: Plan) -> None:
    """Remove what earlier runs left for others to take over, so that all is computed anew."""
    for stage in plan.stages.glob("*.safetensors"):
        stage.unlink()
    remove_pooled(plan.pooled_images)


def results_of(parts: Sequence[Part], results: Sequence[Results]) -> Results:
    """The results of an arm's runs as those of one: the last figures of the sites that count, and what its work cost.

    A site that could not evaluate after the last round has no figure, whatever it told before. Where all sites are
    simulated, what they predicted for every image comes with it.
    """
    pairs = list(zip(parts, results, strict=True))
    evaluations = _union(_last(part, one.evaluations) for part, one in pairs)
    predictions = _predictions(parts)
    return Results(
        evaluations=evaluations,
        losses=_union(one.losses for one in results),
        sent=_union(one.sent if part.sends else {} for part, one in pairs),
        steps=_union(one.steps for one in results),
        reused=frozenset[str]().union(*(one.reused for one in results)),
        predictions=predictions if predictions.keys() == {moment.site for moment in evaluations} else {},
    )


def _alone(whole: Job, site: str) -> Part:
    job = _part_of(whole, whole.spec.cohort.alone(site), sites=(site,), folder=site)
    return Part(job=job, sites=(site,), sends=False)


def _without(whole: Job, site: str) -> Part:
    held_out = tuple(sorted({site, *whole.spec.cohort.hold_out}))
    few = min(whole.spec.cohort.min_sites, len(whole.sites) - len(held_out))
    if few < 1:
        raise SpecError(f"arm '{whole.spec.name}' has nobody to train without {', '.join(held_out)}: add sites")
    cohort = whole.spec.cohort.model_copy(update={"hold_out": held_out, "min_sites": few})
    return Part(job=_part_of(whole, cohort, sites=whole.sites, folder=f"without-{site}"), sites=(site,))


def _pooled(whole: Job, plan: Plan, held_out: str | None = None) -> Part:
    from fedward_models.data.splitting.pooling import POOLED  # few commands need the zoo

    kept = tuple(site for site in whole.spec.cohort.training(whole.sites) if site != held_out)
    folder = "-".join(("without", *sorted(set(whole.sites) - set(kept)))) if kept != whole.sites else "all"
    sites = tuple(sorted((*whole.sites, POOLED)))
    cohort = Cohort(sites=sites, hold_out=whole.sites, min_sites=1, round_deadline_s=whole.spec.cohort.round_deadline_s)
    job = _part_of(whole, cohort, sites=sites, folder="" if held_out is None else f"without-{held_out}")
    data = pooled_folder(plan.pooled_images / folder, plan.data, kept=kept, sites=whole.sites)
    job = replace(job, data=data, spec=_on_one_scale(job.spec, data))
    return Part(job=job, sites=whole.sites if held_out is None else (held_out,), sends=False)


def _on_one_scale(spec: Spec, data: Path) -> Spec:
    """Sites are evaluated on the scale that the pooled images are trained on, and not each on its own."""
    from fedward_models.data.image_set import own_scale
    from fedward_models.data.splitting.pooling import POOLED

    scale = spec.dataset.standardisation or own_scale(data, POOLED, spec.dataset)
    return spec.model_copy(update={"dataset": spec.dataset.model_copy(update={"standardisation": scale})})


def _part_of(whole: Job, cohort: Cohort, *, sites: tuple[str, ...], folder: str) -> Job:
    spec = whole.spec.model_copy(update={"cohort": cohort})
    assert whole.reuse is not None
    return job_for(spec, sites=sites, data=whole.data, out=whole.out / folder, workers=whole.workers, reuse=whole.reuse)


def _last(part: Part, evaluations: Mapping[Moment, Metrics]) -> dict[Moment, Metrics]:
    """What the sites that count told after the run's last round."""
    stage = part.job.spec.stages[-1]
    moments = (Moment(stage=stage.name, round=stage.rounds - 1, site=site) for site in part.sites)
    return {moment: evaluations[moment] for moment in moments if moment in evaluations}


def _union(tables: Iterable[Mapping[Moment, Value]]) -> dict[Moment, Value]:
    """A site does as much work in each run in which it trains: where several tell of it, the last counts."""
    return {moment: value for table in tables for moment, value in table.items()}


def _predictions(parts: Sequence[Part]) -> dict[str, "Arrays"]:
    from fedward_cli.simulation.predictions import read_predictions  # numpy is slow to import

    found: dict[str, Arrays] = {}
    for part in parts:
        found |= read_predictions(part.job.out, part.job.spec.stages[-1].name, part.sites)
    return found
