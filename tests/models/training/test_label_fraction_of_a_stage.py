"""Each stage trains on its own part of a site's labels, where it says so."""

import pytest

from fedward_core.arrays import digest
from fedward_core.order import Order, Work
from fedward_core.private_state import PrivateEntry
from fedward_core.spec import Spec
from fedward_models.data import generate, sites_in
from fedward_models.programs.program import Site
from fedward_models.programs.torch_program import TorchProgram

PARTS = {"all": None, "half": 0.5, "tenth": 0.1}


class Nothing:
    """A private store that keeps nothing."""

    def read(self, round_: int, parent: str) -> PrivateEntry:
        raise AssertionError("the first round reads nothing")

    def write(self, entry: PrivateEntry) -> None:
        """Forget it."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    folder = tmp_path_factory.mktemp("hospitals")
    generate(folder, sites=1, images_per_site=60, image_px=16, seed=1)
    return Site(name=sites_in(folder)[0], data=folder, store=Nothing())


def spec() -> Spec:
    stages = [
        {
            "name": name,
            "method": {"name": "probe", "weights": "as_built"},
            "backbone": {"name": "small_cnn", "widths": [2], "hidden": [4]},
            "rounds": 1,
            **({} if part is None else {"label_fraction": part}),
        }
        for name, part in PARTS.items()
    ]
    return Spec.parse({"name": "parts", "dataset": {"name": "films", "image_px": 16}, "stages": stages})


def trained_on(site: Site, stage: int) -> int:
    program = TorchProgram(spec(), stage)
    plan, weights = program.plan(program.describe(site).contract, None)
    parent = digest(weights)
    order = Order(run="r", work=Work.TRAIN, stage=stage, round=0, parent=parent, base=None, plan=plan)
    return program.train(order, weights, site).num_examples


def test_every_stage_sees_its_own_part_of_the_labels(site: Site) -> None:
    everything, half, tenth = (trained_on(site, stage) for stage in range(len(PARTS)))
    assert 0 < tenth < half < everything
    assert half == pytest.approx(everything / 2, abs=everything / 6)
