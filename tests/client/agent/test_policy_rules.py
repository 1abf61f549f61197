"""The site's policy beats any job, and what cannot be read allows nothing."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from fedward_client.agent.enrolment import TEMPLATE
from fedward_client.agent.errors import PolicyError
from fedward_client.agent.policy import Offer, SitePolicy, read_policy
from fedward_client.agent.rules import Terms, refusal
from fedward_core.cards import DataKind
from fedward_core.fleet_messages import Proposal

APP = "a" * 64
Propose = Callable[..., Proposal]
GENEROUS = SitePolicy(datasets={"simulated": Offer(path=Path("/srv/secret-ward/images"))})
SUPERVISED = {"method": "supervised", "backbone": {"name": "small_cnn"}}
FREE = {"method": {"name": "fgsm_at", "attack": "free"}, "backbone": {"name": "small_cnn"}}
MANY_WARM_UPS = {**SUPERVISED, "personalise": {"name": "channel_decoupling", "warmup_epochs": 1000}}


def reason(proposal: Proposal, free_disk_bytes: float = 1e12, **policy: Any) -> str:
    terms = Terms(policy=GENEROUS.model_copy(update=policy), approved=frozenset({APP}))
    return refusal(proposal, terms, free_disk_bytes=free_disk_bytes)


def test_a_run_within_the_policy_is_taken_part_in(propose: Propose) -> None:
    assert reason(propose()) == ""


@pytest.mark.parametrize(
    ("policy", "asked", "expected"),
    [
        ({"datasets": {}}, {}, "offers no dataset 'simulated'"),
        ({"studies": ("brain",)}, {}, "does not take part in study 'chest'"),
        ({"methods": ("mae",)}, {}, "does not allow the method rehearsal"),
        ({"labels": False}, {"stage": SUPERVISED}, "does not let runs read labels"),
        ({"max_rounds": 2}, {}, "allows 2 rounds, and the run asks for 3"),
        ({"max_epochs": 4}, {"stage": {"local": {"epochs": 5}}}, "allows 4 epochs a round, and the run asks for 5"),
        ({"max_epochs": 4}, {"stage": MANY_WARM_UPS}, "allows 4 epochs a round, and the run asks for 1001"),
        ({"max_epochs": 4}, {"stage": FREE}, "allows 4 epochs a round, and the run asks for 8"),
        ({"min_sites": 3}, {}, "min_sites is at least 3, and the run's is 2"),
        ({"gpus": ()}, {"stage": {"local": {"device": "cuda"}}}, "demands a GPU, and the site gives none"),
        ({}, {"app": "b" * 64}, "has not approved the app bbbbbbbbbbbbbbbb"),
        ({}, {"run": "../private"}, "cannot name a folder"),
    ],
)
def test_a_run_that_asks_for_more_is_refused_with_the_reason(
    policy: dict[str, Any], asked: dict[str, Any], expected: str, propose: Propose
) -> None:
    found = reason(propose(**asked), **policy)
    assert expected in found
    assert "secret-ward" not in found


@pytest.mark.parametrize(
    ("policy", "agreed"),
    [
        ({}, False),
        ({"public": ("open-chest",)}, False),
        ({"public": ("open-chest",), "datasets": {**GENEROUS.datasets, "open-chest": Offer(path=Path("/x"))}}, True),
        ({"public": (), "datasets": {**GENEROUS.datasets, "open-chest": Offer(path=Path("/x"))}}, False),
    ],
)
def test_predictions_on_a_public_dataset_are_sent_only_where_the_policy_names_it(
    policy: dict[str, Any], agreed: bool, propose: Propose
) -> None:
    public = {"name": "open-chest", "sha256": "c" * 64}
    found = reason(propose(stage=SUPERVISED, evaluate={"public": public}), **policy)
    assert (found == "") is agreed
    assert agreed or "policy offers no such public dataset" in found


def offering(**offer: Any) -> dict[str, Any]:
    return {"datasets": {"simulated": Offer(path=Path("/srv/secret-ward/images"), **offer)}}


REPORTS = {"name": "simulated", "kind": "report"}
MGCA = {"method": "mgca", "backbone": {"name": "resnet"}}


@pytest.mark.parametrize(
    ("offer", "dataset", "agreed"),
    [
        ({}, {"name": "simulated"}, True),
        ({}, REPORTS, False),
        ({"kind": "report"}, REPORTS, True),
        ({"kind": "report"}, {"name": "simulated"}, True),
        ({"kind": "volume"}, {"name": "simulated"}, False),
        ({"kind": "volume"}, {"name": "simulated", "kind": "volume", "depth": 4}, True),
        ({"kind": "report"}, {"name": "simulated", "task": "multi_label"}, True),
    ],
)
def test_a_dataset_is_read_only_as_it_was_offered(
    offer: dict[str, Any], dataset: dict[str, Any], agreed: bool, propose: Propose
) -> None:
    found = reason(propose(dataset=dataset), **offering(**offer))
    assert (found == "") is agreed
    assert agreed or f"as kind '{offer.get('kind', 'image')}', and the run would" in found
    assert "secret-ward" not in found


def test_reports_of_a_dataset_that_was_offered_as_images_are_not_read(propose: Propose) -> None:
    """They are no labels, so that a policy without labels would let them be read."""
    found = reason(propose(stage=MGCA, dataset=REPORTS), labels=False, **offering(kind="image"))
    assert "offers dataset 'simulated' as kind 'image'" in found
    assert "would read it as kind 'report'" in found


@pytest.mark.parametrize(("task", "agreed"), [("multi_label", False), ("classification", True)])
def test_without_labels_no_other_labels_are_counted_than_those_offered(
    task: str, agreed: bool, propose: Propose
) -> None:
    """No method of the run reads labels, and yet a card names and counts those of the spec's task."""
    mae = {"method": "mae", "backbone": {"name": "vit"}}
    found = reason(propose(stage=mae, dataset={"name": "simulated", "task": task}), labels=False)
    assert (found == "") is agreed
    assert agreed or "offers dataset 'simulated' with task 'classification': the run's is 'multi_label'" in found


def test_a_public_dataset_too_is_read_only_as_it_was_offered(propose: Propose) -> None:
    open_chest = Offer(path=Path("/x"), kind=DataKind.REPORT)
    policy: dict[str, Any] = {"public": ("open-chest",), "datasets": {**GENEROUS.datasets, "open-chest": open_chest}}
    public = {"name": "open-chest", "sha256": "c" * 64}
    assert reason(propose(stage=SUPERVISED, evaluate={"public": public}), **policy) == ""
    policy["datasets"]["open-chest"] = Offer(path=Path("/x"), kind=DataKind.CLIP)
    found = reason(propose(stage=SUPERVISED, evaluate={"public": public}), **policy)
    assert "offers dataset 'open-chest' as kind 'clip'" in found


def test_a_run_within_a_bound_is_not_refused_for_it(propose: Propose) -> None:
    assert reason(propose(stage=SUPERVISED), studies=("chest",), methods=("supervised",), max_rounds=3) == ""


def test_a_full_disk_refuses_new_runs(propose: Propose) -> None:
    assert "too little free disk" in reason(propose(), free_disk_bytes=1e8)


def test_a_spec_that_is_not_the_one_of_the_digest_is_refused(propose: Propose) -> None:
    other = propose().model_copy(update={"spec_digest": "0" * 64})
    assert "does not have the digest" in reason(other)


def test_a_spec_that_cannot_be_read_is_refused(propose: Propose) -> None:
    strange = propose().model_copy(update={"spec": {"name": "drill", "from_the_future": 1}})
    assert "cannot read the run's spec" in reason(strange)


def test_the_policy_that_enrolment_lays_out_names_every_key_and_is_the_default() -> None:
    assert read_policy(TEMPLATE) == SitePolicy()
    assert set(yaml.safe_load(TEMPLATE.read_text())) == set(SitePolicy.model_fields)


@pytest.mark.parametrize(
    "text",
    [
        "max_rounds: [",
        "max_rounds: no",
        "max_round: 5",
        "- all",
        "datasets: {x: {path: 1}}",
        "datasets: {../x: {path: /x}}",
        "labels: false\nlabels: true",
        "studies: 2020-13-45",
        "datasets: {x: {path: /x, classes: [a, b, a]}}",
    ],
)
def test_a_policy_that_cannot_be_read_is_an_error(text: str, tmp_path: Path) -> None:
    path = tmp_path / "site.yaml"
    path.write_text(text)
    with pytest.raises(PolicyError, match="nothing is allowed"):
        read_policy(path)


def test_a_fault_of_yaml_is_told_with_its_line_and_without_the_folder(tmp_path: Path) -> None:
    path = tmp_path / "site.yaml"
    path.write_text("datasets:\n  x: [")
    with pytest.raises(PolicyError, match=r'in "site\.yaml", line 2') as caught:
        read_policy(path)
    assert str(tmp_path) not in str(caught.value)


def test_a_dataset_may_have_any_name_that_a_folder_can_have(tmp_path: Path) -> None:
    path = tmp_path / "site.yaml"
    path.write_text("datasets: {Thorax Röntgen 2.0: {path: /x}}", encoding="utf-8")
    assert list(read_policy(path).datasets) == ["Thorax Röntgen 2.0"]


def test_no_policy_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="nothing is allowed"):
        read_policy(tmp_path / "site.yaml")
