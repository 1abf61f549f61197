"""Predictions of sites on a public dataset, put together by the coordinator, which never holds a personal model."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fedward_core.arrays import Array, read_arrays
from fedward_core.cards import Split, Task
from fedward_core.errors import UpdateError
from fedward_core.events import EventKind
from fedward_core.order import PUBLIC, Work
from fedward_server.rounds.exchange import Answer, Errand
from fedward_server.rounds.public_ensemble import PublicEnsemble

Script = Callable[[str, Errand], list[Answer]]

LABELS = np.array([0, 1, 1])
VOTES = {"a": [[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]], "b": [[0.7, 0.3], [0.1, 0.9], [0.9, 0.1]]}
EVALUATE = {"public": {"name": "open-chest", "sha256": "a" * 64}}
SUPERVISED: dict[str, Any] = {"method": "supervised", "backbone": "small_cnn"}


def rows(votes: Any, labels: Array = LABELS) -> dict[str, Array]:
    return {"probabilities": np.array(votes, np.float32), "labels": labels}


def ensemble_of(*sites: str, task: Task = Task.CLASSIFICATION) -> PublicEnsemble:
    ensemble = PublicEnsemble(task)
    for site in sites:
        ensemble.add(site, rows(VOTES[site]))
    return ensemble


def test_the_mean_and_its_accuracy_are_those_by_hand() -> None:
    ensemble = ensemble_of("a", "b")
    np.testing.assert_allclose(ensemble.mean(), [[0.8, 0.2], [0.35, 0.65], [0.55, 0.45]], rtol=1e-6)
    accuracy = ensemble.metrics()["accuracy"]
    assert accuracy.value == pytest.approx(2 / 3)
    assert accuracy.n == 3


def test_one_model_twice_is_the_model() -> None:
    ensemble = ensemble_of("a")
    ensemble.add("twin", rows(VOTES["a"]))
    np.testing.assert_array_equal(ensemble.mean(), np.array(VOTES["a"], np.float32))


def test_the_order_of_arrival_changes_no_digit() -> None:
    rng = np.random.default_rng(0)
    votes = {site: rng.dirichlet(np.ones(3), 20).astype(np.float32) for site in "abcdefg"}
    means = []
    for order in (sorted(votes), sorted(votes, reverse=True)):
        ensemble = PublicEnsemble(Task.CLASSIFICATION)
        for site in order:
            ensemble.add(site, rows(votes[site], np.arange(20) % 3))
        means.append(ensemble.mean())
    np.testing.assert_array_equal(means[0], means[1])


@pytest.mark.parametrize(
    "sent",
    [
        rows(VOTES["a"], np.array([[0, 1], [1, 0], [1, 0]])),
        rows(VOTES["a"], np.array(1)),
        rows(VOTES["a"], LABELS[:2]),
        rows(np.empty((0, 2)), LABELS[:0]),
    ],
    ids=["a table", "one number", "too few", "no images"],
)
def test_the_first_site_may_not_send_anything_either(sent: dict[str, Array]) -> None:
    ensemble = PublicEnsemble(Task.CLASSIFICATION)
    with pytest.raises(UpdateError, match="expected"):
        ensemble.add("a", sent)
    ensemble.add("b", rows(VOTES["b"]))
    assert ensemble.metrics()["accuracy"].n == 3


def test_several_findings_have_no_accuracy() -> None:
    assert ensemble_of("a", task=Task.MULTI_LABEL).metrics() == {}


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ({}, "expected probabilities and labels"),
        ({**rows(VOTES["b"]), "head.weight": np.ones(4)}, "nothing else"),
        (rows(VOTES["b"][:2], LABELS[:2]), "other images, classes or labels"),
        (rows(VOTES["b"], LABELS[::-1]), "other images, classes or labels"),
        (rows([[0.5, 0.2, 0.3]] * 3), "other images, classes or labels"),
        (rows([[np.nan, 0.1]] * 3), "one probability in"),
        (rows([[7.0, -6.0]] * 3), "one probability in"),
        (rows([0.5, 0.5, 0.5]), "one probability in"),
    ],
)
def test_what_are_no_predictions_of_the_same_images_is_refused(sent: dict[str, Array], expected: str) -> None:
    ensemble = ensemble_of("a")
    with pytest.raises(UpdateError, match=expected):
        ensemble.add("b", sent)
    np.testing.assert_array_equal(ensemble.mean(), np.array(VOTES["a"], np.float32))


def predicting(honest: Script, sent: dict[str, dict[str, Array]]) -> Script:
    """An honest site that sends predictions with each evaluation of the last round."""

    def script(site: str, errand: Errand) -> list[Answer]:
        (answer,) = honest(site, errand)
        if errand.order.work is Work.DESCRIBE:
            return [_labelled(answer)]
        if errand.order.work is Work.EVALUATE and errand.order.round == 2:
            answer = Answer(site=site, reply=answer.reply, groups={PUBLIC: sent[site]} if site in sent else {})
        return [answer]

    return script


def _labelled(answer: Answer) -> Answer:
    """The same card, with labels in it."""
    assert answer.reply is not None
    assert answer.reply.card is not None
    card = answer.reply.card.model_copy(update={"class_counts": {Split.TRAIN: (9, 9)}})
    return Answer(site=answer.site, reply=answer.reply.model_copy(update={"card": card}))


def test_a_run_keeps_the_mean_and_tells_its_accuracy(run_scripts: Any, honest_site: Script) -> None:
    script = predicting(honest_site, {site: rows(votes) for site, votes in VOTES.items()})
    outcome = run_scripts({"a": script, "b": script}, evaluate=EVALUATE, **SUPERVISED)
    (told,) = outcome.of(EventKind.PUBLIC_EVALUATED)
    assert (told.site, told.round, told.facts["sites"]) == (None, 2, ["a", "b"])
    assert told.facts["metrics"]["accuracy"]["n"] == 3
    kept, facts = read_arrays(outcome.out / "stages" / "only" / "public.safetensors")
    np.testing.assert_array_equal(kept["probabilities"], ensemble_of("a", "b").mean())
    assert facts["sites"] == ["a", "b"]
    assert kept.keys() == {"probabilities", "labels"}


def test_too_few_sites_make_no_ensemble_and_the_run_says_so(run_scripts: Any, honest_site: Script) -> None:
    script = predicting(honest_site, {"a": rows(VOTES["a"])})
    outcome = run_scripts({"a": script, "b": script}, evaluate=EVALUATE, min_sites=2, **SUPERVISED)
    assert not outcome.of(EventKind.PUBLIC_EVALUATED)
    assert not (outcome.out / "stages" / "only" / "public.safetensors").exists()
    reasons = [event.facts["reason"] for event in outcome.of(EventKind.WARNING)]
    assert any("no ensemble: 1 sites predicted, min_sites is 2" in reason for reason in reasons)


def test_without_a_public_dataset_nothing_is_put_together(run_scripts: Any, honest_site: Script) -> None:
    script = predicting(honest_site, {"a": rows(VOTES["a"])})
    outcome = run_scripts({"a": script}, **SUPERVISED)
    assert not outcome.of(EventKind.PUBLIC_EVALUATED)
