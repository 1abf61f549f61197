"""The ClientApp at a hospital: which runs and attempts it serves."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.supercore.task_identity import TaskIdentity

from fedward_client import site_work
from fedward_client.agent.consents import Consents
from fedward_client.agent.fence import Fence
from fedward_client.flower.app_settings import SETTINGS, AppSettings
from fedward_client.flower.deployed_site import app
from fedward_client.flower.work_note import NOTE, WorkNote
from fedward_client.jobs.slot import Slot
from fedward_core.cards import Contract
from fedward_core.errors import DataError
from fedward_core.fleet_messages import Proposal
from fedward_core.order import Failure, Order, Reply, Work
from fedward_core.packages import Package
from fedward_core.plan import WEIGHTS
from fedward_core.processes.process import Process
from fedward_core.refusal import REFUSED, Ground, Refusal
from fedward_core.spec import Spec
from fedward_models.data import generate

SPEC: dict[str, Any] = {
    "name": "drill",
    "dataset": {"name": "simulated", "image_px": 16},
    "stages": [{"name": "only", "method": "rehearsal", "rounds": 1}],
}


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    data = tmp_path / "data"
    generate(data, sites=2, images_per_site=20, image_px=16, seed=1)
    settings = AppSettings(site="north", data=data, private=tmp_path / "private")
    monkeypatch.setenv(SETTINGS, settings.model_dump_json())
    monkeypatch.setattr(TaskIdentity, "_task_id", 1)
    monkeypatch.setattr(TaskIdentity, "_run_id", 1)
    monkeypatch.setattr(TaskIdentity, "_node_id", 1)
    return tmp_path


def ask(
    *,
    attempt: int = 1,
    run: str = "drill",
    work: Work = Work.DESCRIBE,
    spec: dict[str, Any] = SPEC,
    kind: str | None = None,
) -> Message:
    order = Order(run=run, attempt=attempt, work=work, contract=Contract(classes=())).model_dump_json()
    kind = kind or {Work.DESCRIBE: "query", Work.PLAN: "query.plan"}.get(work, str(work))
    message = Message(content=RecordDict({"order": ConfigRecord({"json": order})}), dst_node_id=1, message_type=kind)
    config: dict[str, bool | float | int | str] = {"run": run, "spec": Spec.parse(spec).model_dump_json()}
    return app(message, Context(run_id=1, node_id=1, node_config={}, state=RecordDict(), run_config=config))


def test_a_lower_attempt_than_seen_is_refused_and_a_higher_one_served(site: Path) -> None:
    for attempt in (2, 2, 3):
        reply = Reply.model_validate_json(str(ask(attempt=attempt).content.config_records["reply"]["json"]))
        assert reply.card is not None
        assert reply.card.site == "north"
    error = ask(attempt=2).error
    assert error.code == REFUSED
    assert Refusal.model_validate_json(error.reason or "") == Refusal(site="north", ground=Ground.LOWER_ATTEMPT)


@pytest.mark.parametrize("run", ["../other", "", ".hidden", "a/b", "run\n"])
def test_a_run_whose_id_is_no_plain_name_is_refused_and_writes_nothing(run: str, site: Path) -> None:
    error = ask(run=run).error
    assert Refusal.model_validate_json(error.reason or "").ground is Ground.RUN_NAME
    assert not (site / "private").exists()


def test_without_a_consent_to_the_spec_a_run_is_refused(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = AppSettings(site="north", data=site / "data", private=site / "private", consents=site / "consents")
    monkeypatch.setenv(SETTINGS, settings.model_dump_json())
    assert Refusal.model_validate_json(ask().error.reason or "").ground is Ground.NO_CONSENT
    digest = Spec.parse(SPEC).digest()
    proposal = Proposal(run="drill", study="s", spec={}, spec_digest=digest, app="", expires_s=0.0)
    Consents(site / "consents").give(proposal)
    assert not ask().has_error()
    Consents(site / "consents").give(proposal.model_copy(update={"spec_digest": "other"}))
    assert Refusal.model_validate_json(ask().error.reason or "").ground is Ground.NO_CONSENT


def test_predictions_on_a_public_dataset_need_a_consent_even_where_runs_need_none(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = {"name": "only", "method": "supervised", "backbone": "small_cnn", "rounds": 1}
    evaluate = {"public": {"name": "open-chest", "sha256": "a" * 64}}
    spec = {**SPEC, "stages": [stage], "evaluate": evaluate}

    def failure() -> Failure | None:
        text = str(ask(spec=spec).content.config_records["reply"]["json"])
        return Reply.model_validate_json(text).failure

    assert failure() is Failure.SPEC
    settings = AppSettings(site="north", data=site / "data", private=site / "private", consents=site / "consents")
    monkeypatch.setenv(SETTINGS, settings.model_dump_json())
    digest = Spec.parse(spec).digest()
    Consents(site / "consents").give(
        Proposal(run="drill", study="s", spec={}, spec_digest=digest, app="", expires_s=0.0)
    )
    assert failure() is None


def test_no_text_of_an_exception_leaves_the_site(
    site: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(self: Fence, attempt: int) -> bool:
        raise OSError("/data/patient-7")

    monkeypatch.setattr(Fence, "admits", fail)
    reason = ask().error.reason or ""
    assert Refusal.model_validate_json(reason) == Refusal(site="north", ground=Ground.APP_FAILED)
    assert "patient-7" in caplog.text


def test_a_site_plans_a_stage_of_a_run_that_it_serves_and_of_no_other(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = ask(work=Work.PLAN)
    reply = Reply.model_validate_json(str(answer.content.config_records["reply"]["json"]))
    assert reply.plan is not None
    assert f"group.{WEIGHTS}" in answer.content.array_records
    settings = AppSettings(site="north", data=site / "data", private=site / "private", consents=site / "consents")
    monkeypatch.setenv(SETTINGS, settings.model_dump_json())
    assert Refusal.model_validate_json(ask(work=Work.PLAN).error.reason or "").ground is Ground.NO_CONSENT


def test_what_builds_trains_or_evaluates_holds_the_sites_slot(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    hold = Slot.for_order

    @contextmanager
    def noted(slot: Slot) -> Iterator[None]:
        with hold(slot):
            told.append("held")
            yield
            told.append("freed")

    monkeypatch.setattr(Slot, "for_order", noted)

    def work_badly(*_: object) -> None:
        told.append("work")
        raise DataError("nothing is there")

    monkeypatch.setattr(site_work, "_do", work_badly)
    settings = AppSettings(site="north", data=site / "data", private=site / "private", slot=site / "slot")
    monkeypatch.setenv(SETTINGS, settings.model_dump_json())
    for work in (Work.DESCRIBE, Work.PLAN, Work.TRAIN, Work.EVALUATE):
        ask(work=work)
    assert told == ["work", *("held", "work", "freed") * 3]
    told.clear()
    ask(work=Work.TRAIN, kind="query")  # whatever the letter says, what counts is what is asked
    assert told == ["held", "work", "freed"]


def test_a_fork_notes_what_it_works_on(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NOTE, str(site / "1.json"))
    ask(attempt=3)
    note = WorkNote.read(site / "1.json")
    assert note is not None
    assert (note.run, note.attempt, note.process) == ("drill", 3, Process.of(os.getpid()))
    message = note.message
    assert message is not None
    assert (message.metadata.message_type, message.metadata.dst_node_id) == ("query", 1)
    assert not message.content.config_records


def test_a_fence_outlives_the_process(tmp_path: Path) -> None:
    assert Fence(tmp_path / "run").admits(5)
    assert not Fence(tmp_path / "run").admits(4)
    assert Fence(tmp_path / "run").admits(5)


@pytest.mark.parametrize("ground", Ground)
def test_every_ground_has_a_sentence(ground: Ground) -> None:
    assert Refusal(site="north", ground=ground).sentence().startswith("the site ")


def test_a_run_whose_packages_are_others_than_agreed_is_refused_before_its_spec_is_read(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = AppSettings(site="north", data=site / "data", private=site / "private", consents=site / "consents")
    monkeypatch.setenv(SETTINGS, settings.model_dump_json())
    package = Package(name="own-method", version="1.0", sha256="0" * 64)
    digest = Spec.parse(SPEC).digest()
    proposal = Proposal(run="drill", study="s", spec={}, spec_digest=digest, app="", packages=(package,), expires_s=0.0)
    Consents(site / "consents").give(proposal)
    monkeypatch.setattr("fedward_client.flower.deployed_site._spec", lambda context: pytest.fail("it was read"))
    assert Refusal.model_validate_json(ask().error.reason or "").ground is Ground.NO_CONSENT
