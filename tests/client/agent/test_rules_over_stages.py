"""The policy holds for every stage of a run, for all of them together, and up to its bounds."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fedward_client.agent.policy import Offer, SitePolicy, read_policy
from fedward_client.agent.rules import Terms, refusal
from fedward_core.fleet_messages import Proposal

APP = "a" * 64
GENEROUS = SitePolicy(datasets={"simulated": Offer(path=Path("/srv/images"))})
HARMLESS: dict[str, Any] = {"name": "first", "method": "rehearsal", "rounds": 3}
GREEDY: dict[str, Any] = {
    "name": "second",
    "method": "supervised",
    "backbone": "small_cnn",
    "rounds": 4,
    "local": {"epochs": 5, "device": "cuda"},
}


def reason(proposal: Proposal, **policy: Any) -> str:
    terms = Terms(policy=GENEROUS.model_copy(update=policy), approved=frozenset({APP}))
    return refusal(proposal, terms, free_disk_bytes=1e12)


@pytest.mark.parametrize("stages", [[HARMLESS, GREEDY], [GREEDY, HARMLESS]], ids=["last", "first"])
@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ({"methods": ("rehearsal",)}, "does not allow the method supervised"),
        ({"labels": False}, "a stage of this run does"),
        ({"max_rounds": 6}, "allows 6 rounds, and the run asks for 7"),
        ({"max_epochs": 4}, "allows 4 epochs a round, and the run asks for 5"),
        ({"gpus": ()}, "demands a GPU"),
    ],
)
def test_one_stage_that_asks_for_more_is_enough_wherever_it_stands(
    stages: list[dict[str, Any]], policy: dict[str, Any], expected: str, propose: Callable[..., Proposal]
) -> None:
    proposal = propose(stages=stages)
    assert reason(proposal) == ""
    assert expected in reason(proposal, **policy)


def test_what_reaches_a_bound_and_does_not_pass_it_is_allowed(propose: Callable[..., Proposal]) -> None:
    proposal = propose(stages=[HARMLESS, GREEDY], cohort={"min_sites": 3})
    assert reason(proposal, max_rounds=7, max_epochs=5, min_sites=3, methods=("rehearsal", "supervised")) == ""


@pytest.mark.parametrize("run", ["", "a/../../b", "run\n", ".hidden", "a b", "x" * 129])
def test_a_run_whose_whole_id_is_no_plain_name_is_refused(run: str, propose: Callable[..., Proposal]) -> None:
    assert reason(propose(run=run)) == "the run's id cannot name a folder"
    assert reason(propose(run="x" * 128)) == ""


def test_an_empty_policy_is_the_default(tmp_path: Path) -> None:
    (tmp_path / "site.yaml").write_text("# nothing is decided yet\n")
    assert read_policy(tmp_path / "site.yaml") == SitePolicy()
