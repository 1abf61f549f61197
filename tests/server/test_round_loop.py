"""The round loop against good and bad partners, without a network."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fedward_core.arrays import digest, read_arrays
from fedward_core.claim import claimed
from fedward_core.errors import CheckpointError, DataError, FedwardError, QuorumError
from fedward_core.events import EventKind
from fedward_core.order import Failure, Work
from fedward_core.update import SHARED
from fedward_server.rounds.exchange import Answer, Errand
from fedward_server.rounds.stage_state import read_final

Script = Callable[[str, Errand], list[Answer]]


def spoiled(honest: Script, spoil: Callable[[Answer], list[Answer]], *, in_round: int = 1) -> Script:
    """An honest site that spoils its update of one round."""

    def script(site: str, errand: Errand) -> list[Answer]:
        answers = honest(site, errand)
        if errand.order.work is Work.TRAIN and errand.order.round == in_round:
            return spoil(answers[0])
        return answers

    return script


def with_arrays(answer: Answer, **arrays: Any) -> list[Answer]:
    return [replace(answer, groups={SHARED: {**answer.groups[SHARED], **arrays}})]


def with_reply(answer: Answer, **facts: Any) -> list[Answer]:
    assert answer.reply is not None
    return [replace(answer, reply=answer.reply.model_copy(update=facts))]


BAD = {
    "nan": lambda a: with_arrays(a, w=np.full(3, np.nan, np.float32)),
    "wrong shape": lambda a: with_arrays(a, w=np.zeros(4, np.float32)),
    "wrong type": lambda a: with_arrays(a, w=np.zeros(3, np.float64)),
    "unknown name": lambda a: with_arrays(a, stranger=np.zeros(3, np.float32)),
    "missing group": lambda a: [replace(a, groups={})],
    "group within a group": lambda a: [replace(a, groups={**a.groups, f"{SHARED}/x": {"y": np.zeros(3, np.float32)}})],
    "a group of nobody's": lambda a: [replace(a, groups={**a.groups, "extra": {"y": np.zeros(3, np.float32)}})],
    "wrong round": lambda a: with_reply(a, round=7),
    "wrong parent": lambda a: with_reply(a, parent="0" * 64),
    "no images": lambda a: with_reply(a, num_examples=0),
    "no loss": lambda a: with_reply(a, metrics={"accuracy": 0.5}),
    "failure": lambda a: with_reply(a, failure=Failure.DIVERGED),
    "no reply": lambda a: [Answer(site=a.site, fault="its client app failed")],
    "silence": lambda a: [],
}


def test_weights_are_the_weighted_mean_of_the_sites(run_scripts: Any, honest_site: Script) -> None:
    outcome = run_scripts({"a": honest_site, "bbb": honest_site}, rounds=1)
    _, weights = read_final(outcome.out / "stages" / "only" / "final.safetensors")
    np.testing.assert_allclose(weights["w"], np.full(3, 0.25 * 1 + 0.75 * 3), rtol=1e-6)
    np.testing.assert_allclose(weights["b"], np.full(2, 1 + 0.25 * 1 + 0.75 * 3), rtol=1e-6)


@pytest.mark.parametrize("fault", BAD)
def test_a_bad_update_drops_its_site_for_the_round_and_names_it(
    fault: str, run_scripts: Any, honest_site: Script
) -> None:
    outcome = run_scripts({"a": honest_site, "b": spoiled(honest_site, BAD[fault]), "c": honest_site})
    dropped = outcome.of(EventKind.SITE_DROPPED)
    assert [(event.site, event.round) for event in dropped] == [("b", 1)]
    assert dropped[0].facts["reason"]
    finished = outcome.of(EventKind.ROUND_FINISHED)
    assert [event.facts["sites"] for event in finished] == [["a", "b", "c"], ["a", "c"], ["a", "b", "c"]]


@pytest.mark.parametrize("fault", BAD)
def test_nothing_of_a_bad_update_is_used(fault: str, run_scripts: Any, honest_site: Script, tmp_path: Any) -> None:
    def absent(answer: Answer) -> list[Answer]:
        return []

    spoiled_run = run_scripts({"a": honest_site, "b": spoiled(honest_site, BAD[fault])})
    (tmp_path / "out").rename(tmp_path / "spoiled")
    absent_run = run_scripts({"a": honest_site, "b": spoiled(honest_site, absent)})
    ends = [run.of(EventKind.ROUND_FINISHED)[-1].facts["digest"] for run in (spoiled_run, absent_run)]
    assert ends[0] == ends[1]


def test_a_site_names_its_figures_as_it_likes(run_scripts: Any, honest_site: Script) -> None:
    figures = {
        "loss": 1.0,
        **dict.fromkeys(("kind", "site", "stage", "round_", "facts", "bytes", "num_examples"), -7.0),
    }
    spoil = spoiled(honest_site, lambda answer: with_reply(answer, metrics=figures))
    outcome = run_scripts({"a": honest_site, "b": spoil})
    assert not outcome.of(EventKind.SITE_DROPPED)
    (told,) = (e for e in outcome.of(EventKind.SITE_TRAINED) if (e.site, e.round) == ("b", 1))
    assert (told.facts["kind"], told.facts["num_examples"], told.facts["bytes"]) == (-7.0, 1, 4 * (3 + 2))


def test_a_line_that_was_cut_within_a_character_hinders_no_run(
    run_scripts: Any, honest_site: Script, tmp_path: Any
) -> None:
    with pytest.raises(QuorumError):
        run_scripts({"a": honest_site, "b": spoiled(honest_site, BAD["nan"])}, min_sites=2)
    path = tmp_path / "out" / "events.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole + '{"reason": "é'.encode()[:-1])
    run_scripts({"a": honest_site, "b": honest_site}, min_sites=2)
    text = path.read_bytes()
    assert text.startswith(whole)
    assert [json.loads(line)["kind"] for line in text.splitlines()][-1] == "run_finished"


def test_a_second_answer_is_not_used_and_told(run_scripts: Any, honest_site: Script) -> None:
    def twice(answer: Answer) -> list[Answer]:
        return [answer, *with_arrays(answer, w=np.full(3, 99, np.float32))]

    outcome = run_scripts({"a": honest_site, "b": spoiled(honest_site, twice)})
    assert [(event.site, event.round) for event in outcome.of(EventKind.WARNING)] == [("b", 1)]
    assert not outcome.of(EventKind.SITE_DROPPED)
    assert read_final(outcome.out / "stages" / "only" / "final.safetensors")[1]["w"].max() < 10


def test_too_few_contributions_fail_the_run_with_its_reason(run_scripts: Any, honest_site: Script) -> None:
    scripts = {"a": honest_site, "b": spoiled(honest_site, BAD["nan"]), "c": honest_site}
    with pytest.raises(
        QuorumError, match=r"round 2 of stage .only.: 2 of 3 sites contributed, cohort.min_sites is 3"
    ) as caught:
        run_scripts(scripts, min_sites=3)
    events = caught.value.outcome.events  # type: ignore[attr-defined]
    assert events[-1].kind is EventKind.RUN_FAILED


def test_a_failed_round_is_taken_up_without_asking_those_that_had_answered(
    run_scripts: Any, honest_site: Script
) -> None:
    with pytest.raises(QuorumError):
        run_scripts({"a": honest_site, "b": spoiled(honest_site, BAD["silence"])}, min_sites=2)
    outcome = run_scripts({"a": honest_site, "b": honest_site}, min_sites=2)
    asked = [(site, e.order.round) for site, e in outcome.exchange.errands if e.order.work is Work.TRAIN]
    assert asked == [("b", 1), ("a", 2), ("b", 2)]


def test_a_run_that_is_taken_up_ends_with_the_weights_of_an_undisturbed_one(
    run_scripts: Any, honest_site: Script, tmp_path: Any
) -> None:
    undisturbed = run_scripts({"a": honest_site, "b": honest_site}, min_sites=2)
    (tmp_path / "out").rename(tmp_path / "undisturbed")
    with pytest.raises(QuorumError):
        run_scripts({"a": honest_site, "b": spoiled(honest_site, BAD["nan"])}, min_sites=2)
    taken_up = run_scripts({"a": honest_site, "b": honest_site}, min_sites=2)
    assert [e.facts["attempt"] for e in taken_up.of(EventKind.RUN_RESUMED)] == [2]
    ends = [run.of(EventKind.ROUND_FINISHED)[-1].facts["digest"] for run in (undisturbed, taken_up)]
    assert ends[0] == ends[1]


def test_a_run_that_was_killed_right_after_a_checkpoint_tells_of_its_round_when_it_is_taken_up(
    run_scripts: Any, honest_site: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kill(_inbox: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("fedward_server.rounds.stage_run.Inbox.clear", kill)
        with pytest.raises(KeyboardInterrupt):
            run_scripts({"a": honest_site, "b": honest_site}, min_sites=2)
    told = run_scripts({"a": honest_site, "b": honest_site}, min_sites=2).of(EventKind.ROUND_FINISHED)
    assert [event.round for event in told] == [0, 1, 2]
    assert told[0].facts.keys() == told[1].facts.keys()


@pytest.mark.parametrize("interrupted", [False, True])
def test_a_disk_too_full_for_the_record_hides_no_reason(
    interrupted: bool, run_scripts: Any, honest_site: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    def end(_answer: Answer) -> list[Answer]:
        monkeypatch.setattr("fedward_server.rounds.run.Run._note", full)
        monkeypatch.setattr("fedward_server.rounds.recorder.Recorder.record", full)
        raise KeyboardInterrupt if interrupted else QuorumError("why it ends")

    def full(*_given: Any, **_facts: Any) -> None:
        raise CheckpointError("cannot write: No space left on device")

    with pytest.raises(KeyboardInterrupt if interrupted else QuorumError):
        run_scripts({"a": honest_site, "b": spoiled(honest_site, end)})


@pytest.mark.parametrize("in_round", [0, 1])
def test_a_run_does_not_go_on_with_data_of_another_kind_than_it_began_with(
    in_round: int, run_scripts: Any, honest_site: Script
) -> None:
    """It was interrupted in its first stage or in its second."""

    def renamed(site: str, errand: Errand) -> list[Answer]:
        (answer,) = honest_site(site, errand)
        if errand.order.work is not Work.DESCRIBE:
            return [answer]
        assert answer.reply is not None
        assert answer.reply.card is not None
        contract = answer.reply.card.contract.model_copy(update={"classes": ("b", "a")})
        return with_reply(answer, card=answer.reply.card.model_copy(update={"contract": contract}))

    second = {"name": "second", "method": "rehearsal", "start_from": "previous", "rounds": 2}
    settings = {"rounds": 1, "min_sites": 2, "then": (second,)}
    with pytest.raises(QuorumError):
        run_scripts({"a": honest_site, "b": spoiled(honest_site, BAD["silence"], in_round=in_round)}, **settings)
    with pytest.raises(DataError, match=r"stage 'only' began: classes was \('a', 'b'\) then and is \('b', 'a'\) now"):
        run_scripts(dict.fromkeys("ab", renamed), **settings)
    assert run_scripts(dict.fromkeys("ab", honest_site), **settings).of(EventKind.RUN_FINISHED)


def test_a_run_leaves_alone_a_folder_in_which_another_is_at_work(
    run_scripts: Any, honest_site: Script, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fedward_core.claim.PATIENCE_S", 0.0)
    with claimed(tmp_path / "out" / ".lock", FedwardError("held")):  # flock tells openings of a file apart
        with pytest.raises(CheckpointError, match="another run is at work"):
            run_scripts({"a": honest_site})
        assert [path.name for path in (tmp_path / "out").iterdir()] == [".lock"]
    assert run_scripts({"a": honest_site}).of(EventKind.RUN_FINISHED)


def test_a_site_without_its_private_state_joins_anew_in_the_same_round(run_scripts: Any, honest_site: Script) -> None:
    def forgetful(site: str, errand: Errand) -> list[Answer]:
        answers = honest_site(site, errand)
        if errand.order.work is Work.TRAIN and errand.order.round == 1 and errand.order.base is not None:
            return with_reply(answers[0], failure=Failure.PRIVATE_STATE)
        return answers

    outcome = run_scripts({"a": honest_site, "b": forgetful})
    orders = [e.order for site, e in outcome.exchange.errands if site == "b" and e.order.work is Work.TRAIN]
    assert [(order.round, order.base is None) for order in orders] == [(0, True), (1, False), (1, True), (2, False)]
    assert not outcome.of(EventKind.SITE_DROPPED)


def test_a_site_whose_private_state_is_missing_even_after_joining_anew_is_left_out_of_the_round(
    run_scripts: Any, honest_site: Script
) -> None:
    """Else it would be asked again and again, and the round would never end."""
    forgets = spoiled(honest_site, lambda answer: with_reply(answer, failure=Failure.PRIVATE_STATE))
    outcome = run_scripts({"a": honest_site, "b": forgets})
    asked = [e.order.round for site, e in outcome.exchange.errands if site == "b" and e.order.work is Work.TRAIN]
    assert asked == [0, 1, 1, 2]
    (dropped,) = outcome.of(EventKind.SITE_DROPPED)
    assert (dropped.site, dropped.round) == ("b", 1)
    assert "missing even after joining anew" in dropped.facts["reason"]


def test_the_loss_of_a_round_is_the_mean_over_its_images(run_scripts: Any, honest_site: Script) -> None:
    (finished,) = run_scripts({"a": honest_site, "bbb": honest_site}, rounds=1).of(EventKind.ROUND_FINISHED)
    assert finished.facts["loss"] == pytest.approx((1 * 1 + 3 * 3) / 4)


def test_an_evaluation_belongs_to_the_round_before_it_and_to_the_weights_that_came_of_it(
    run_scripts: Any, honest_site: Script
) -> None:
    outcome = run_scripts({"a": honest_site}, rounds=2, evaluate={"every": 1})
    orders = [errand.order for _, errand in outcome.exchange.errands if errand.order.work is Work.EVALUATE]
    finished = [(event.round, event.facts["digest"]) for event in outcome.of(EventKind.ROUND_FINISHED)]
    assert [(order.round, order.parent) for order in orders] == finished
    assert [order.base.round if order.base else None for order in orders] == [0, 1]


def test_a_finished_stage_that_was_damaged_is_refused_before_anything_goes_on(
    run_scripts: Any, honest_site: Script
) -> None:
    second = {"name": "second", "method": "rehearsal", "rounds": 1}
    outcome = run_scripts({"a": honest_site}, then=(second,))
    path = outcome.out / "stages" / "only" / "final.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match=r"final\.safetensors"):
        run_scripts({"a": honest_site}, then=(second,))


def test_a_folder_with_a_run_of_other_sites_or_another_spec_is_left_alone(
    run_scripts: Any, honest_site: Script
) -> None:
    run_scripts({"a": honest_site, "b": honest_site})
    for sites, settings in ((("a", "c"), {}), (("a", "b"), {"rounds": 4})):
        with pytest.raises(CheckpointError, match="another spec or other sites"):
            run_scripts(dict.fromkeys(sites, honest_site), **settings)


def test_the_checkpoint_before_the_last_is_kept_and_older_ones_go(run_scripts: Any, honest_site: Script) -> None:
    outcome = run_scripts({"a": honest_site}, rounds=5)
    names = sorted(path.name for path in (outcome.out / "stages" / "only").glob("checkpoint-*"))
    assert names == ["checkpoint-00004.safetensors", "checkpoint-00005.safetensors"]
    assert not (outcome.out / "stages" / "only" / "inbox").exists()


def test_the_digest_of_a_round_is_that_of_its_weights(run_scripts: Any, honest_site: Script) -> None:
    outcome = run_scripts({"a": honest_site, "b": honest_site})
    arrays, facts = read_arrays(outcome.out / "stages" / "only" / "final.safetensors")
    assert outcome.of(EventKind.ROUND_FINISHED)[-1].facts["digest"] == digest(arrays) == facts["digest"]


def test_bytes_are_counted_both_ways(run_scripts: Any, honest_site: Script) -> None:
    outcome = run_scripts({"a": honest_site, "b": honest_site}, rounds=1)
    facts = outcome.of(EventKind.ROUND_FINISHED)[0].facts
    assert facts["bytes_sent"] == facts["bytes_received"] == 2 * 4 * (3 + 2)


def test_a_filter_is_undone_before_folding(run_scripts: Any, honest_site: Script) -> None:
    def halved(site: str, errand: Errand) -> list[Answer]:
        answers = honest_site(site, errand)
        if errand.order.work is not Work.TRAIN:
            return answers
        bits = {n: (a.view(np.uint32) >> 16).astype(np.uint16) for n, a in answers[0].groups[SHARED].items()}
        return [replace(answers[0], groups={SHARED: bits})]

    outcome = run_scripts({"a": halved}, rounds=1, filters=["bfloat16"])
    weights = read_final(outcome.out / "stages" / "only" / "final.safetensors")[1]
    np.testing.assert_array_equal(weights["w"], np.ones(3, np.float32))
