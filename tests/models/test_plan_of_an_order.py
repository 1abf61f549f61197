"""A site derives from the spec what may travel, and carries no order out whose plan says otherwise."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedward_core.arrays import digest
from fedward_core.cards import Contract
from fedward_core.errors import SpecError
from fedward_core.order import Order, Work
from fedward_core.partition import Role, Rule
from fedward_core.plan import StagePlan
from fedward_core.private_state import PrivateEntry
from fedward_core.spec import Spec
from fedward_core.update import SHARED
from fedward_models.building import build_method, manifest_of
from fedward_models.data import generate, sites_in
from fedward_models.programs.program import Site
from fedward_models.programs.torch_program import TorchProgram

EVERYTHING = (Rule(pattern=r".*", role=Role.SHARED),)
STAGE: dict[str, Any] = {
    "name": "only",
    "method": "supervised",
    "backbone": {"name": "small_cnn", "widths": [2], "hidden": [4]},
    "rounds": 2,
    "local": {"batch_size": 8},
}


class Kept:
    """A private store in memory."""

    def __init__(self) -> None:
        self.entries: list[PrivateEntry] = []

    def read(self, round_: int, parent: str) -> PrivateEntry:
        raise AssertionError("the first round reads nothing")

    def write(self, entry: PrivateEntry) -> None:
        self.entries.append(entry)


def program_with(**stage: Any) -> TorchProgram:
    values = {"name": "toy", "dataset": {"name": "films", "image_px": 16}, "evaluate": {"bootstrap": 0}}
    return TorchProgram(Spec.parse({**values, "stages": [{**STAGE, **stage}]}), 0)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    generate(tmp_path, sites=1, images_per_site=24, image_px=16, seed=1)
    return Site(name=sites_in(tmp_path)[0], data=tmp_path, store=Kept())


@pytest.mark.parametrize("personalise", ["channel_decoupling", "fedper", "local_only"])
@pytest.mark.parametrize("work", [Work.TRAIN, Work.EVALUATE])
def test_a_plan_that_shares_more_than_the_spec_is_not_carried_out(personalise: str, work: Work, site: Site) -> None:
    program = program_with(personalise=personalise)
    plan, weights = program.plan(program.describe(site).contract, None)
    carry_out = {Work.TRAIN: program.train, Work.EVALUATE: program.evaluate}[work]
    with pytest.raises(SpecError, match="shares other parts"):
        carry_out(order_with(plan.model_copy(update={"rules": EVERYTHING}), weights, work), weights, site)
    assert isinstance(site.store, Kept)
    assert not site.store.entries


def test_a_plan_of_another_model_is_not_carried_out(site: Site) -> None:
    program = program_with()
    other, weights = program_with(backbone={"name": "small_cnn", "widths": [3]}).plan(
        program.describe(site).contract, None
    )
    with pytest.raises(SpecError, match="another model"):
        program.train(order_with(other, weights, Work.TRAIN), weights, site)


def test_a_plan_that_was_made_with_another_tokenizer_is_not_carried_out(site: Site) -> None:
    """Its tokens would mean something else at this site, and nothing that travels would tell."""
    program = program_with(
        method={"name": "beit", "tokenizer": {"name": "patch_codebook", "vocabulary": 16}},
        backbone={"name": "beit_vit", "width": 8, "depth": 1, "heads": 2, "patch_px": 8},
    )
    plan, weights = program.plan(program.describe(site).contract, None)
    order = order_with(plan.model_copy(update={"notes": ("tokenizer patch_codebook, digest 0",)}), weights, Work.TRAIN)
    with pytest.raises(SpecError, match=r"made with something else than 'tokenizer.*would not train one model"):
        program.train(order, weights, site)
    assert program.train(order_with(plan, weights, Work.TRAIN), weights, site).groups[SHARED]


def test_branches_stand_side_by_side_also_where_no_site_has_trained_them(site: Site) -> None:
    """As at a site that is held out, and in what a run leaves behind: the last round's share counts."""
    program = program_with(personalise={"name": "channel_decoupling", "coupling": "branch"})
    plan, weights = program.plan(program.describe(site).contract, None)
    order = order_with(plan, weights, Work.EVALUATE).model_copy(update={"round": 1})
    method = program.personal(order, weights, site)
    partition = plan.partition(Fraction(1, 2))
    crossing = {name: mask for name in weights if (mask := partition.crossing_mask(name)) is not None}
    assert crossing
    for name, mask in crossing.items():
        assert np.any(weights[name][mask])
        assert not np.any(method.get_parameter(name).detach().numpy()[mask])


def test_the_plan_of_the_spec_is_carried_out_after_a_wrong_one(site: Site) -> None:
    program = program_with(personalise="fedper")
    plan, weights = program.plan(program.describe(site).contract, None)
    with pytest.raises(SpecError):
        program.train(order_with(plan.model_copy(update={"rules": EVERYTHING}), weights, Work.TRAIN), weights, site)
    update = program.train(order_with(plan, weights, Work.TRAIN), weights, site)
    assert update.groups[SHARED]
    assert not any(name.startswith("head.") for name in update.groups[SHARED])


def test_a_model_that_trains_on_another_device_is_still_that_of_its_plan() -> None:
    spec = Spec.parse({"name": "toy", "dataset": {"name": "films", "image_px": 16}, "stages": [STAGE]})
    method = build_method(spec, 0, Contract(classes=("a", "b")))
    assert manifest_of(method.to("meta")) == manifest_of(build_method(spec, 0, Contract(classes=("a", "b"))))


def order_with(plan: StagePlan, arrays: Any, work: Work) -> Order:
    return Order(run="r", work=work, stage=0, round=0, parent=digest(arrays), base=None, plan=plan)
