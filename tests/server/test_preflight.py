"""What is refused, or told, before anything is trained."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from fedward_core.cards import Contract, Split, Task
from fedward_core.errors import DataError, QuorumError, SpecError
from fedward_core.events import EventKind
from fedward_core.order import Failure, Work
from fedward_server.rounds.exchange import Answer, Errand

Script = Callable[[str, Errand], list[Answer]]


def with_card(honest: Script, **facts: Any) -> Script:
    """An honest site with another card."""

    def script(site: str, errand: Errand) -> list[Answer]:
        (answer,) = honest(site, errand)
        if errand.order.work is not Work.DESCRIBE:
            return [answer]
        assert answer.reply is not None
        assert answer.reply.card is not None
        card = answer.reply.card.model_copy(update=facts)
        return [replace(answer, reply=answer.reply.model_copy(update={"card": card}))]

    return script


def test_skipped_files_are_told(run_scripts: Any, honest_site: Script) -> None:
    outcome = run_scripts({"a": honest_site, "b": with_card(honest_site, num_skipped=2)}, rounds=1)
    warnings = outcome.of(EventKind.WARNING)
    assert [event.site for event in warnings] == ["b"]
    assert "2 of its files" in warnings[0].facts["reason"]


def test_a_card_of_another_site_is_refused(run_scripts: Any, honest_site: Script) -> None:
    with pytest.raises(DataError, match="'b' gave a card of another site"):
        run_scripts({"a": honest_site, "b": with_card(honest_site, site="a")})


def test_a_site_without_training_images_is_refused(run_scripts: Any, honest_site: Script) -> None:
    empty = with_card(honest_site, num_images={Split.TRAIN: 0, Split.TEST: 4})
    with pytest.raises(DataError, match="'b' has no training images"):
        run_scripts({"a": honest_site, "b": empty})


def test_a_site_without_labels_is_refused_where_a_stage_needs_them(run_scripts: Any, honest_site: Script) -> None:
    unlabelled = with_card(honest_site, num_images={Split.TRAIN: 4})
    with pytest.raises(DataError, match="'a' has no labels"):
        run_scripts({"a": unlabelled}, method="supervised", backbone="small_cnn")


def test_a_site_without_masks_is_told_so_where_a_study_segments(run_scripts: Any, honest_site: Script) -> None:
    contract = Contract(classes=("a", "b"), task=Task.SEGMENTATION)
    unlabelled = with_card(honest_site, num_images={Split.TRAIN: 4}, contract=contract)
    with pytest.raises(DataError, match="'a' has no masks"):
        run_scripts({"a": unlabelled}, method="supervised", backbone="small_cnn")


def test_a_site_that_cannot_be_evaluated_is_told_before_it_trains(run_scripts: Any, honest_site: Script) -> None:
    untested = with_card(honest_site, num_images={Split.TRAIN: 4}, class_counts={Split.TRAIN: (2, 2)})
    outcome = run_scripts({"a": untested}, rounds=1, method="supervised", backbone="small_cnn")
    first = outcome.of(EventKind.WARNING)[0]
    assert (first.site, first.round) == ("a", None)
    assert "no image in the split 'test'" in first.facts["reason"]


def test_sites_that_do_not_fit_one_study_are_refused(run_scripts: Any, honest_site: Script) -> None:
    other = with_card(honest_site, contract=Contract(classes=("a", "c")))
    with pytest.raises(DataError, match="'a' and 'b' do not fit one study: classes"):
        run_scripts({"a": honest_site, "b": other})


def test_a_site_that_cannot_describe_its_data_is_named(run_scripts: Any, honest_site: Script) -> None:
    def broken(site: str, errand: Errand) -> list[Answer]:
        (answer,) = honest_site(site, errand)
        assert answer.reply is not None
        return [replace(answer, reply=answer.reply.model_copy(update={"card": None, "failure": Failure.DATA}))]

    with pytest.raises(DataError, match="site 'b' gave no card of dataset 'toy'"):
        run_scripts({"a": honest_site, "b": broken})


def test_a_rule_that_needs_more_sites_than_there_are_is_refused_before_they_train(
    run_scripts: Any, honest_site: Script
) -> None:
    with pytest.raises(SpecError, match="needs the updates of 5 sites in a round, and 4 train") as caught:
        run_scripts(dict.fromkeys("abcd", honest_site), aggregate="trimmed_mean")
    assert caught.value.outcome.exchange.errands == []  # type: ignore[attr-defined]


def test_fewer_sites_than_the_quorum_are_refused(run_scripts: Any, honest_site: Script) -> None:
    with pytest.raises(QuorumError, match=r"2 sites \(a, b\), cohort\.min_sites is 3"):
        run_scripts({"a": honest_site, "b": honest_site}, min_sites=3)
