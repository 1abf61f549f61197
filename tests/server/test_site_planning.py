"""Sites plan a stage: two that agree are enough, one that cannot is replaced, and a liar ends the run with its name."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedward_core.arrays import Array, digest
from fedward_core.cards import Contract
from fedward_core.errors import CheckpointError, QuorumError, RoundError, SpecError
from fedward_core.events import EventKind
from fedward_core.manifest import Manifest
from fedward_core.order import Failure, Reply, Work
from fedward_core.partition import Role, Rule
from fedward_core.plan import WEIGHTS, StagePlan
from fedward_server.rounds.exchange import Answer, Errand
from fedward_server.rounds.site_planning import plan_at_sites
from fedward_server.rounds.stage_state import read_final

Script = Callable[[str, Errand], list[Answer]]
EVERYTHING = (Rule(pattern=".*", role=Role.SHARED),)


def weights(value: float = 0.5) -> dict[str, Array]:
    return {"w": np.full(3, value, np.float32), "b": np.ones(2, np.float32)}


def built(site: str, errand: Errand, arrays: Mapping[str, Array], **plan: Any) -> Answer:
    """What a site sends that has built a network with these weights."""
    order = errand.order
    assert order.contract is not None
    facts = {"manifest": Manifest.of(arrays), "rules": EVERYTHING, "contract": order.contract} | plan
    reply = Reply(site=site, work=order.work, plan=StagePlan(**facts))
    return Answer(site=site, reply=reply, groups={WEIGHTS: arrays})


def site(honest: Script, answer: Callable[[str, Errand], Answer | None]) -> Script:
    """A site that trains honestly, and answers the question for a plan as it likes."""

    def script(name: str, errand: Errand) -> list[Answer]:
        if errand.order.work is not Work.PLAN:
            return honest(name, errand)
        given = answer(name, errand)
        return [] if given is None else [given]

    return script


def honest_plan(name: str, errand: Errand) -> Answer:
    return built(name, errand, weights())


def failing(name: str, errand: Errand) -> Answer:
    return Answer(site=name, reply=Reply(site=name, work=errand.order.work, failure=Failure.SPEC))


def asked(outcome: Any) -> list[str]:
    return [name for name, errand in outcome.exchange.errands if errand.order.work is Work.PLAN]


@pytest.fixture
def run(run_scripts: Any, honest_site: Script) -> Callable[..., Any]:
    """Run a toy spec over sites that answer the question for a plan as given."""

    def start(plans: Mapping[str, Callable[[str, Errand], Answer | None]], **settings: Any) -> Any:
        scripts = {name: site(honest_site, plan) for name, plan in plans.items()}
        return run_scripts(scripts, planner=plan_at_sites, rounds=1, **settings)

    return start


def test_the_first_two_sites_plan_and_the_run_says_who_did(run: Any) -> None:
    outcome = run({"a": honest_plan, "b": honest_plan, "c": honest_plan})
    assert asked(outcome) == ["a", "b"]
    (started,) = outcome.of(EventKind.STAGE_STARTED)
    assert started.facts["planned_by"] == ["a", "b"]
    assert started.facts["parameters"] == 5
    assert not outcome.of(EventKind.WARNING)


def test_rounds_begin_with_the_weights_that_sites_gave(run: Any) -> None:
    outcome = run({"a": honest_plan, "b": honest_plan})
    sent = [errand for _, errand in outcome.exchange.errands if errand.order.work is Work.TRAIN]
    assert {errand.order.parent for errand in sent} == {digest(weights())}
    np.testing.assert_array_equal(sent[0].arrays["w"], weights()["w"])


def test_a_stage_after_another_is_planned_from_its_weights(run: Any) -> None:
    seen: list[dict[str, Array]] = []

    def inheriting(name: str, errand: Errand) -> Answer:
        seen.append(dict(errand.arrays))
        return built(name, errand, errand.arrays or weights())

    second = {"name": "second", "method": "rehearsal", "rounds": 1, "start_from": "previous"}
    outcome = run({"a": inheriting, "b": inheriting}, then=(second,))
    final = read_final(outcome.out / "stages" / "only" / "final.safetensors")[1]
    assert [digest(arrays) for arrays in seen] == [*[digest({})] * 2, *[digest(final)] * 2]


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (failing, "parts do not fit"),
        (lambda name, errand: replace(failing(name, errand), reply=None, fault="its app died"), "its app died"),
        (lambda name, errand: None, "no answer within 1 s"),
        (lambda name, errand: replace(honest_plan(name, errand), groups={}), "no plan or no weights"),
        (lambda name, errand: built(name, errand, weights(), manifest=Manifest.of({"w": np.zeros(4)})), "expected 1"),
        (lambda name, errand: built(name, errand, weights(), contract=Contract(classes=("x",))), "other data"),
        (lambda name, errand: built(name, errand, weights(float("nan"))), "not finite"),
    ],
    ids=["failure", "fault", "silence", "no weights", "wrong form", "other contract", "not finite"],
)
def test_a_site_that_gives_no_usable_plan_is_replaced_by_the_next(run: Any, fault: Any, reason: str) -> None:
    outcome = run({"a": fault, "b": honest_plan, "c": honest_plan})
    assert asked(outcome) == ["a", "b", "c"]
    assert outcome.of(EventKind.STAGE_STARTED)[0].facts["planned_by"] == ["b", "c"]
    (warning,) = outcome.of(EventKind.WARNING)
    assert warning.site == "a"
    assert reason in warning.facts["reason"]


@pytest.mark.parametrize("dtype", ["nonsense", "f4,,", "f4,(3f4"])
def test_a_plan_with_a_type_that_does_not_exist_is_not_used(run: Any, dtype: str) -> None:
    def strange(name: str, errand: Errand) -> Answer:
        entries = [entry.model_copy(update={"dtype": dtype}) for entry in Manifest.of(weights()).entries]
        return built(name, errand, weights(), manifest=Manifest(entries=tuple(entries)))

    assert asked(run({"a": strange, "b": honest_plan, "c": honest_plan})) == ["a", "b", "c"]


def test_sites_that_give_other_weights_end_the_run_with_names_and_digests(run: Any) -> None:
    def liar(name: str, errand: Errand) -> Answer:
        return built(name, errand, weights(0.51))

    with pytest.raises(RoundError, match="disagree about the first weights of stage 'only'") as caught:
        run({"a": honest_plan, "b": liar, "c": honest_plan})
    for word in ("'a'", "'b'", digest(weights())[:12], digest(weights(0.51))[:12]):
        assert word in str(caught.value)
    assert not (caught.value.outcome.out / "stages").exists()  # type: ignore[attr-defined]


def test_sites_that_give_other_plans_end_the_run_with_names_and_digests(run: Any) -> None:
    def other(name: str, errand: Errand) -> Answer:
        return built(name, errand, weights(), notes=("another",))

    with pytest.raises(RoundError, match=r"disagree about the plan .* at 'a', .* at 'b'"):
        run({"a": honest_plan, "b": other})


def test_rounding_of_processors_is_no_disagreement_and_is_told(run: Any) -> None:
    def rounding(name: str, errand: Errand) -> Answer:
        return built(name, errand, weights(np.nextafter(np.float32(0.5), np.float32(1))))

    outcome = run({"a": honest_plan, "b": rounding})
    (warning,) = outcome.of(EventKind.WARNING)
    assert "round differently" in warning.facts["reason"]
    sent = [errand for _, errand in outcome.exchange.errands if errand.order.work is Work.TRAIN]
    assert {errand.order.parent for errand in sent} == {digest(weights())}


def test_a_plan_that_leaves_an_entry_without_a_rule_ends_the_run(run: Any) -> None:
    def uncovered(name: str, errand: Errand) -> Answer:
        return built(name, errand, weights(), rules=(Rule(pattern="w", role=Role.SHARED),))

    with pytest.raises(SpecError):
        run({"a": uncovered, "b": uncovered})


def test_too_few_plans_fail_the_run_with_every_reason(run: Any) -> None:
    with pytest.raises(QuorumError, match=r"built by 1 sites, expected 2 .*a: the spec's parts .*c: the spec's parts"):
        run({"a": failing, "b": honest_plan, "c": failing}, min_sites=2)


def test_one_site_is_enough_where_the_quorum_is_one_and_the_run_says_that_nobody_vouches(run: Any) -> None:
    outcome = run({"a": failing, "b": honest_plan}, min_sites=1)
    assert [event.facts["reason"] for event in outcome.of(EventKind.WARNING)][-1].startswith("only b has planned")


def test_a_site_alone_plans_alone_without_a_warning(run: Any) -> None:
    outcome = run({"a": honest_plan})
    assert outcome.of(EventKind.STAGE_STARTED)[0].facts["planned_by"] == ["a"]
    assert not outcome.of(EventKind.WARNING)


@pytest.fixture
def interrupted(run_scripts: Any, honest_site: Script) -> Callable[[], Any]:
    """A run whose stage was planned, and whose only round failed; calling it takes the run up, with sites that work."""
    willing = site(honest_site, honest_plan)

    def unwilling(name: str, errand: Errand) -> list[Answer]:
        return [] if errand.order.work is Work.TRAIN else willing(name, errand)

    def run(other: Script) -> Any:
        return run_scripts({"a": willing, "b": other}, planner=plan_at_sites, rounds=1, min_sites=2)

    with pytest.raises(QuorumError, match="round 1"):
        run(unwilling)
    return lambda: run(willing)


def test_a_run_that_is_taken_up_is_not_planned_again(interrupted: Callable[[], Any]) -> None:
    resumed = interrupted()
    assert asked(resumed) == []
    assert "planned_by" not in resumed.of(EventKind.STAGE_STARTED)[-1].facts


def test_a_stage_that_was_killed_before_its_first_checkpoint_is_planned_again(
    interrupted: Callable[[], Any], tmp_path: Path
) -> None:
    for checkpoint in (tmp_path / "out" / "stages" / "only").glob("checkpoint-*"):
        checkpoint.unlink()
    assert asked(interrupted()) == ["a", "b"]


def test_a_plan_that_was_changed_on_disk_is_refused(interrupted: Callable[[], Any], tmp_path: Path) -> None:
    path = tmp_path / "out" / "stages" / "only" / "plan.json"
    plan = StagePlan.model_validate_json(path.read_bytes())
    path.write_text(plan.model_copy(update={"notes": ("changed",)}).model_dump_json())
    with pytest.raises(CheckpointError, match="another spec or architecture"):
        interrupted()
    path.write_text("{")
    with pytest.raises(CheckpointError, match=r"plan\.json' is damaged"):
        interrupted()
