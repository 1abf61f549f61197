"""Personal models of simulated runs; those of deployed runs stay where they are."""

from pathlib import Path
from typing import Any

import pytest
import torch

from fedward_cli.simulation.personal_models import SimulatedRun
from fedward_core import registry
from fedward_core.cards import Split
from fedward_core.engine import Job
from fedward_core.errors import SpecError
from fedward_core.spec import Spec
from fedward_models.data import generate, open_split, sites_in
from fedward_models.personalisation.ensemble import Ensemble


def test_a_run_without_simulated_sites_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text('{"sites": ["north", "river"]}')
    with pytest.raises(SpecError, match="private models of north, river are at their sites and stay there"):
        SimulatedRun(out=tmp_path, data=tmp_path)


def carried_out(folder: Path, cohort: dict[str, Any]) -> tuple[Job, list[Any]]:
    """Three rounds over three sites."""
    generate(folder / "data", sites=3, images_per_site=40, image_px=16)
    spec = Spec.parse(
        {
            "name": "personal",
            "cohort": cohort,
            "dataset": {"name": "simulated", "image_px": 16},
            "evaluate": {"every": 3, "bootstrap": 0},
            "stages": [
                {
                    "name": "train",
                    "method": "supervised",
                    "backbone": {"name": "small_cnn", "widths": [2], "hidden": [4]},
                    "rounds": 3,
                    "personalise": {"name": "channel_decoupling", "ramp_rounds": 0},
                }
            ],
        }
    )
    job = Job(spec=spec, run="personal", sites=sites_in(folder / "data"), data=folder / "data", out=folder / "out")
    events: list[Any] = []
    registry.resolve("engines", "inline")().run(job, events.append)
    return job, events


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Job, list[Any]]:
    """Two sites are drawn each time."""
    return carried_out(tmp_path_factory.mktemp("simulated"), {"sites_per_round": 2, "min_sites": 2})


def test_a_site_that_has_never_trained_has_no_model_of_its_own_in_the_ensemble(tmp_path: Path) -> None:
    """Its private part is still that of the beginning, and would count as much as any other."""
    sites = ("hill", "north", "river")
    job, _ = carried_out(tmp_path, {"min_sites": 2, "hold_out": [sites[1]]})
    assert job.sites == sites
    members = SimulatedRun(out=job.out, data=job.data).ensemble("train")._members
    assert len(members) == 2
    means = [open_split(job.data, site, job.spec.dataset, Split.TRAIN).mean for site in ("hill", "river")]
    assert [member.mean for member in members] == means


def test_the_ensemble_holds_every_site_s_own_model(finished: tuple[Job, list[Any]]) -> None:
    """Each member alone is as accurate on its site's images as the site itself said."""
    job, events = finished
    ensemble = SimulatedRun(out=job.out, data=job.data).ensemble("train")
    told = {e.site: e.facts["metrics"]["accuracy"]["value"] for e in events if e.kind == "evaluated"}
    assert set(told) == set(job.sites)
    for site, member in zip(job.sites, ensemble._members, strict=True):
        images = open_split(job.data, site, job.spec.dataset, Split.TEST)
        alone = Ensemble(ensemble._form, [member]).predict(images.images)
        assert images.labels is not None
        assert float((alone.argmax(dim=1) == images.labels).float().mean()) == pytest.approx(told[site])
    weights = [member.state["head.weight"] for member in ensemble._members]
    assert not torch.equal(weights[0], weights[1])
