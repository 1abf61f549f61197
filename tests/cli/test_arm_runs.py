"""The runs of an arm as one: whose figures count, and of which round."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedward_cli.comparison.arm_runs import Part, Plan, parts_of, results_of
from fedward_cli.simulation.results import Moment, Results
from fedward_core.engine import Job
from fedward_core.errors import SpecError
from fedward_core.metric import Metric, Metrics
from fedward_core.spec import Spec

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
