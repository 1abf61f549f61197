"""A model card tells what is known, no count that is too small, and which weights it is about."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from fedward_core import registry
from fedward_core.cards import Contract, DatasetCard, Split, Task
from fedward_core.spec import Dataset, Standardisation
from fedward_models.export.facts import RunFacts
from fedward_models.export.model_card import write_card
from fedward_models.inference.finished_model import FinishedModel

CONTRACT = Contract(classes=("a", "b"))
NOTHING = RunFacts(cards=(), evaluations=())


@pytest.fixture(scope="module")
def model(built: Callable[[], FinishedModel]) -> FinishedModel:
    return built()


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


def of(model: FinishedModel, *, method: str = "supervised", task: Task = Task.CLASSIFICATION, **data: Any) -> str:
    """The card of the same network for other data."""
    stage = model.stage.model_copy(update={"method": registry.resolve("methods", method).default()})
    dataset = Dataset.model_validate({"name": "films", "image_px": 16, "task": task, **data})
    contract = CONTRACT.model_copy(update={"task": task, "kind": dataset.kind, "depth": dataset.depth})
    spec = model.spec.model_copy(update={"dataset": dataset, "stages": (stage,)})
    return write_card(
        replace(model, spec=spec, plan=model.plan.model_copy(update={"contract": contract})), NOTHING, None
    )


def test_what_comes_out_is_told_for_each_task(model: FinishedModel) -> None:
    assert "one probability for each class, in the order" in of(model)
    assert "the probability that each class is there" in of(model, task=Task.MULTI_LABEL)
    assert "at every pixel" in of(model, task=Task.SEGMENTATION)


def test_only_what_fedward_predict_takes_is_said_to_be_measured_by_it(model: FinishedModel) -> None:
    assert "`fedward predict` measures" in of(model)
    assert "`fedward predict`" not in of(model, task=Task.SEGMENTATION)
    assert "Probabilities" not in of(model, method="mae")


def test_how_volumes_and_clips_lie_in_the_input_is_told(model: FinishedModel) -> None:
    volumes = of(model, kind="volume", depth=16)
    assert "Slices go from feet to head" in volumes
    assert "resized as a whole, with each volume's 0.5th percentile as black and its 99.5th as white" in volumes
    resampled = of(model, kind="volume", depth=16, spacing_mm=(2, 1, 1), window=(-100, 300))
    assert "`dataset.spacing_mm`, with -100 as black and 300 as white" in resampled
    assert "one of every 2. Pixels" in of(model, kind="clip", frames=4, frame_stride=2)
    assert "Slices" not in of(model)
