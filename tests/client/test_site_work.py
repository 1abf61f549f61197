"""A site answers orders, and its failures leave it as codes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fedward_client import site_work
from fedward_client.private_store import FilePrivateStore
from fedward_client.site_work import SiteSettings, answer
from fedward_core.cards import Contract
from fedward_core.errors import (
    CheckpointError,
    DataError,
    DivergedError,
    FedwardError,
    PrivateStateError,
    SpecError,
    UntrainedError,
    UpdateError,
)
from fedward_core.manifest import Manifest
from fedward_core.order import Base, Failure, Order, Work
from fedward_core.partition import Role, Rule
from fedward_core.plan import WEIGHTS as FIRST_WEIGHTS
from fedward_core.plan import StagePlan
from fedward_core.private_state import PrivateEntry
from fedward_core.spec import Spec
from fedward_core.update import SHARED, Update

WEIGHTS = {"tensor_0": np.ones(3, np.float32)}
PLAN = StagePlan(
    manifest=Manifest.of(WEIGHTS), rules=(Rule(pattern=".*", role=Role.SHARED),), contract=Contract(classes=())
)


@pytest.fixture
def settings(tmp_path: Path) -> SiteSettings:
    spec = Spec.parse(
        {"name": "toy", "dataset": {"name": "toy"}, "stages": [{"name": "only", "method": "rehearsal", "rounds": 2}]}
    )
    return SiteSettings(site="north", spec=spec, data=tmp_path / "data", private=tmp_path / "private")


def order(work: Work) -> Order:
    return Order(run="r", work=work, round=1, parent="p", plan=PLAN)


def test_a_training_order_gives_an_update(settings: SiteSettings) -> None:
    reply, groups = answer(order(Work.TRAIN), WEIGHTS, settings)
    assert (reply.site, reply.round, reply.parent, reply.failure) == ("north", 1, "p", None)
    assert reply.num_examples > 0
    assert groups[SHARED]["tensor_0"].shape == (3,)


def test_a_network_that_was_built_for_other_data_is_not_taken_up(settings: SiteSettings, tmp_path: Path) -> None:
    """Whoever simulates one spec over one folder and then over another may have other classes there."""
    program = site_work._program(settings.spec, 0, settings.data)
    assert site_work._program(settings.spec, 0, settings.data) is program
    assert site_work._program(settings.spec, 0, tmp_path / "other") is not program


def test_a_describing_order_gives_a_card(settings: SiteSettings) -> None:
    reply, groups = answer(Order(run="r", work=Work.DESCRIBE), {}, settings)
    assert reply.card is not None
    assert reply.card.site == "north"
    assert not groups


def test_a_planning_order_gives_a_plan_and_the_first_weights(settings: SiteSettings) -> None:
    question = Order(run="r", work=Work.PLAN, contract=Contract(classes=("a",)))
    reply, groups = answer(question, {}, settings)
    assert reply.plan is not None
    assert reply.plan.contract.classes == ("a",)
    assert reply.plan.manifest == Manifest.of(groups[FIRST_WEIGHTS])


def test_a_stage_that_starts_from_another_is_planned_from_the_weights_that_came(settings: SiteSettings) -> None:
    stage = {"method": "rehearsal", "rounds": 1}
    stages = [{"name": "one", **stage}, {"name": "two", "start_from": "previous", **stage}]
    spec = Spec.parse({"name": "toy", "dataset": {"name": "toy"}, "stages": stages})
    question = Order(run="r", work=Work.PLAN, stage=1, contract=Contract(classes=()))
    _, groups = answer(question, WEIGHTS, replace(settings, spec=spec))
    np.testing.assert_array_equal(groups[FIRST_WEIGHTS]["tensor_0"], WEIGHTS["tensor_0"])


@pytest.mark.parametrize(("round_", "sent"), [(1, False), (4, False), (5, True), (9, True), (10, False)])
@pytest.mark.parametrize("base", [None, Base(round=5, parent="p")])
def test_what_a_site_kept_private_is_not_sent_whatever_round_an_order_tells(
    base: Base | None, round_: int, sent: bool, settings: SiteSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = {"name": "only", "method": "supervised", "backbone": "small_cnn", "rounds": 10}
    personalise = {"name": "channel_decoupling", "ramp_rounds": 8}
    spec = Spec.parse({"name": "toy", "dataset": {"name": "toy"}, "stages": [{**stage, "personalise": personalise}]})
    FilePrivateStore(settings.private / "only").write(PrivateEntry(round=5, parent="p", arrays={}))
    asked: list[int] = []

    class Recording:
        def train(self, order: Order, *_: object) -> Update:
            asked.append(order.round)
            return Update(site="north", round=round_, parent="p", num_examples=1, num_steps=1, groups={SHARED: {}})

    monkeypatch.setattr(site_work, "_program", lambda *_: Recording())
    question = Order(run="r", work=Work.TRAIN, round=round_, parent="p", base=base, plan=PLAN)
    reply, _ = answer(question, {}, replace(settings, spec=spec))
    assert (reply.failure, asked) == ((None, [round_]) if sent else (Failure.SPEC, []))


def test_the_sites_own_people_are_told_of_rounds_as_they_count_them(
    settings: SiteSettings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise DataError("no image in the split 'test'")

    monkeypatch.setattr(site_work, "_program", fail)
    answer(order(Work.EVALUATE), WEIGHTS, settings)
    assert "site north, evaluate of round 2: no image in the split 'test'" in caplog.text
    assert "evaluate of round 2" in (settings.private / "site.log").read_text()
    answer(order(Work.DESCRIBE), WEIGHTS, settings)
    assert "site north, describe: no image" in caplog.text


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (SpecError("secret"), Failure.SPEC),
        (DataError("/secret/path of patient 17"), Failure.DATA),
        (UpdateError("secret"), Failure.UPDATE),
        (DivergedError("secret"), Failure.DIVERGED),
        (PrivateStateError("secret"), Failure.PRIVATE_STATE),
        (UntrainedError("secret"), Failure.UNTRAINED),
        (CheckpointError("secret"), Failure.DISK),
        (MemoryError("secret"), Failure.MEMORY),
        (FedwardError("secret"), Failure.INTERNAL),
        (ValueError("secret"), Failure.INTERNAL),
    ],
)
def test_a_failure_leaves_the_site_as_a_code_without_its_text(
    error: Exception, code: Failure, settings: SiteSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(site_work, "_program", fail)
    reply, groups = answer(order(Work.TRAIN), WEIGHTS, settings)
    assert reply.failure is code
    assert not groups
    assert "secret" not in reply.model_dump_json()
    assert "secret" in (settings.private / "site.log").read_text()
