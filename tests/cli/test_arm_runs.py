"""The runs of an arm as one: whose figures count, and of which round."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fedward_cli.comparison.arm_runs import Part, Plan, parts_of, results_of
from fedward_cli.simulation.results import Moment, Results
from fedward_core.cards import Split
from fedward_core.engine import Job
from fedward_core.errors import SpecError
from fedward_core.metric import Metric, Metrics
from fedward_core.spec import Dataset, Spec
from fedward_models.data.image_set import open_split

SITES = ("hill", "north", "river")
NETWORK = {"name": "small_cnn", "widths": [2], "hidden": [3]}


def part(folder: Path, *counted: str) -> Part:
    """A run of two stages of four rounds at three sites."""
    stages: list[dict[str, Any]] = [{"name": name, "method": "supervised", "rounds": 4} for name in ("first", "second")]
    stages[0]["backbone"], stages[1]["start_from"] = NETWORK, "previous"
    spec = Spec.parse({"name": "arm", "dataset": {"name": "x", "image_px": 8}, "stages": stages})
    job = Job(spec=spec, run="arm", sites=SITES, data=folder, out=folder / "-".join(counted))
    return Part(job=job, sites=counted)


def arm(**cohort: Any) -> Spec:
    stage = {"name": "only", "method": "supervised", "backbone": NETWORK, "rounds": 1}
    values = {"name": "arm", "dataset": {"name": "simulated", "image_px": 16}, "stages": [stage]}
    return Spec.parse({**values, "cohort": {"min_sites": 1, **cohort}})


def pooled_sites(part: Part) -> set[str]:
    with np.load(part.job.data / "pooled.npz") as arrays:
        return {patient.split("/")[0] for patient in arrays["patient"]}


def test_a_site_that_the_spec_holds_out_is_held_out_whatever_the_options(hospitals: Path, tmp_path: Path) -> None:
    plan = Plan(data=hospitals, out=tmp_path, seeds=1)
    external = arm(hold_out=["river"])
    (together,) = parts_of(external, 0, replace(plan, pooled=frozenset({"arm"})))
    assert pooled_sites(together) == {"hill", "north"}
    assert together.sites == SITES
    parts = parts_of(external, 0, replace(plan, hold_out_each=True))
    assert [part.job.spec.cohort.hold_out for part in parts] == [("hill", "river"), ("north", "river"), ("river",)]
    parts = parts_of(external, 0, replace(plan, hold_out_each=True, pooled=frozenset({"arm"})))
    assert [pooled_sites(part) for part in parts] == [{"north"}, {"hill"}, {"hill", "north"}]
    with pytest.raises(SpecError, match="no model for a site that is held out"):
        parts_of(external, 0, replace(plan, alone=frozenset({"arm"})))


def test_pooled_images_reach_the_model_in_training_as_each_site_shows_them_in_evaluation(
    hospitals: Path, tmp_path: Path
) -> None:
    plan = Plan(data=hospitals, out=tmp_path, seeds=1, pooled=frozenset({"arm"}))
    (together,) = parts_of(arm(), 0, plan)
    dataset = together.job.spec.dataset
    pooled = open_split(together.job.data, "pooled", dataset, Split.TRAIN)
    alone = [open_split(hospitals, site, arm().dataset, Split.TRAIN) for site in SITES]
    assert len({images.mean for images in alone}) == len(SITES)  # each has a scale of its own
    pixels = torch.cat([images.images for images in alone]) / 255
    assert pooled.mean == pytest.approx(float(pixels.mean()), abs=1e-6)
    assert pooled.std == pytest.approx(float(pixels.std(unbiased=False)), abs=1e-6)
    for site in SITES:
        images = open_split(together.job.data, site, dataset, Split.TEST)
        assert (images.mean, images.std) == (pooled.mean, pooled.std)


def test_a_scale_that_the_spec_fixes_holds_for_pooled_images_too(hospitals: Path, tmp_path: Path) -> None:
    fixed = {"mean": 0.5, "std": 0.25}
    spec = arm()
    spec = spec.model_copy(
        update={"dataset": Dataset.model_validate({**spec.dataset.model_dump(), "standardisation": fixed})}
    )
    (together,) = parts_of(spec, 0, Plan(data=hospitals, out=tmp_path, seeds=1, pooled=frozenset({"arm"})))
    assert together.job.spec.dataset == spec.dataset


def test_a_pooled_arm_that_keeps_parts_of_the_model_at_the_site_is_refused(hospitals: Path, tmp_path: Path) -> None:
    spec = arm()
    personal = Spec.parse({**spec.model_dump(), "stages": [{**spec.stages[0].model_dump(), "personalise": "fedbn"}]})
    with pytest.raises(SpecError, match="no hospital has what the pooled site keeps"):
        parts_of(personal, 0, Plan(data=hospitals, out=tmp_path, seeds=1, pooled=frozenset({"arm"})))


def test_an_arm_whose_every_site_is_held_out_is_refused(hospitals: Path, tmp_path: Path) -> None:
    plan = Plan(data=hospitals, out=tmp_path, seeds=1, hold_out_each=True)
    with pytest.raises(SpecError, match="nobody to train without hill, north, river"):
        parts_of(arm(hold_out=["hill", "north"]), 0, plan)


def told(value: float) -> Metrics:
    return {"accuracy": Metric(value=value, n=5)}


def test_a_site_that_could_not_evaluate_in_the_end_has_no_figure_whatever_it_told_before(tmp_path: Path) -> None:
    evaluations = {
        Moment(stage=stage, round=round_, site=site): told(0.1 * round_)
        for stage in ("first", "second")
        for round_ in (1, 3)
        for site in SITES
        if (stage, round_, site) != ("second", 3, "north")  # its model diverged
    }
    found = results_of([part(tmp_path, *SITES)], [Results(evaluations=evaluations)])
    assert found.final == {"hill": told(0.1 * 3), "river": told(0.1 * 3)}


def test_each_run_gives_the_figures_of_its_own_sites_whichever_stages_it_took_over(tmp_path: Path) -> None:
    """The first run took its first stage from another run, so that only the second tells of it, and later."""
    parts = [part(tmp_path, "hill"), part(tmp_path, "north", "river")]
    last = {Moment(stage="second", round=3, site=site): told(0.9) for site in SITES}
    early = {Moment(stage="first", round=3, site=site): told(0.2) for site in SITES}
    other = {moment: told(0.4) for moment in last}
    found = results_of(parts, [Results(evaluations=other), Results(evaluations={**early, **last})])
    assert found.final == {"hill": told(0.4), "north": told(0.9), "river": told(0.9)}
