"""A model card tells what is known, no count that is too small, and which weights it is about."""

from dataclasses import replace

import pytest

from fedward_core.cards import Contract, DatasetCard, Split
from fedward_core.plan import StagePlan
from fedward_core.spec import Spec, Standardisation
from fedward_models.building import build_method, manifest_of
from fedward_models.export.facts import RunFacts
from fedward_models.export.model_card import write_card
from fedward_models.inference.finished_model import FinishedModel

CONTRACT = Contract(classes=("a", "b"))
NOTHING = RunFacts(cards=(), evaluations=())


@pytest.fixture(scope="module")
def model() -> FinishedModel:
    backbone = {"name": "small_cnn", "widths": [4], "hidden": []}
    stage = {"name": "only", "method": "supervised", "backbone": backbone, "rounds": 1}
    dataset = {"name": "films", "image_px": 16, "standardisation": {"mean": 0.5, "std": 0.25}}
    spec = Spec.parse({"name": "study", "dataset": dataset, "stages": [stage]})
    method = build_method(spec, 0, CONTRACT).eval()
    plan = StagePlan(manifest=manifest_of(method), rules=method.rules(), contract=CONTRACT)
    return FinishedModel(spec=spec, index=0, plan=plan, method=method)


def card_of(site: str, **images: int) -> DatasetCard:
    counts = {split: images.get(str(split), 0) for split in Split}
    patients = {split: count // 2 for split, count in counts.items()}
    return DatasetCard(
        site=site, dataset="films", contract=CONTRACT, num_images=counts, num_patients=patients, digest="0" * 64
    )


def test_counts_below_five_are_not_told(model: FinishedModel) -> None:
    cards = (card_of("north", train=30, val=2, test=8), card_of("river", train=20, val=2))
    found = write_card(model, replace(NOTHING, cards=cards), None)
    assert "| train | 2 | 50 | 25 |" in found
    assert "| val | 2 | fewer than 5 | fewer than 5 |" in found
    assert "| test | 1 | 8 | fewer than 5 |" in found


def test_figures_of_the_last_round_are_not_passed_off_as_those_of_the_best_weights(model: FinishedModel) -> None:
    last, best = (write_card(replace(model, weights=weights), NOTHING, None) for weights in ("final", "best"))
    assert "| weights | after the best round on validation images |" in best
    assert "and not of these weights" in best
    assert "| weights | after the last round |" in last
    assert "and not of these weights" not in last


@pytest.mark.parametrize(
    ("mean", "told"), [(0.5, "that the run's spec fixes"), (0.4, "of the training images of the site that exported it")]
)
def test_whose_scale_it_is_is_told(model: FinishedModel, mean: float, told: str) -> None:
    assert told in write_card(model, NOTHING, Standardisation(mean=mean, std=0.25))


def test_the_name_of_a_class_makes_no_column(model: FinishedModel) -> None:
    contract = CONTRACT.model_copy(update={"classes": ("a|b", "c")})
    named = replace(model, plan=model.plan.model_copy(update={"contract": contract}))
    assert r"a\|b" in write_card(named, NOTHING, None)
