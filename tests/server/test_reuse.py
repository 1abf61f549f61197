"""Stages that runs have in common are computed once, and only when everything that they depend on is alike."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedward_core.arrays import write_arrays
from fedward_core.cards import Contract, DatasetCard
from fedward_core.engine import Job
from fedward_core.spec import Spec
from fedward_server.rounds.reuse import StageShelf

STAGES: list[dict[str, Any]] = [
    {"name": "first", "method": "rehearsal", "rounds": 2},
    {"name": "second", "method": "rehearsal", "start_from": "previous", "rounds": 2},
]


def card(digest: str = "d") -> DatasetCard:
    return DatasetCard(
        site="north", dataset="toy", contract=Contract(classes=()), num_images={}, num_patients={}, digest=digest
    )


def shelf(tmp_path: Path, *, stages: list[dict[str, Any]] = STAGES, **spec: Any) -> StageShelf:
    values = {"name": "toy", "cohort": {"min_sites": 1}, "dataset": {"name": "toy"}, "stages": stages} | spec
    job = Job(
        spec=Spec.parse(values),
        run="r",
        sites=("north",),
        data=tmp_path,
        out=tmp_path / "out",
        reuse=tmp_path / "shelf",
    )
    return StageShelf(job)


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    path = tmp_path / "final.safetensors"
    write_arrays(path, {"w": np.ones(3, np.float32)})
    shelf(tmp_path).put(0, (card(),), path)
    return path


def test_a_run_that_begins_alike_takes_the_stage(finished: Path, tmp_path: Path) -> None:
    other = [STAGES[0], {**STAGES[1], "rounds": 9}]
    assert shelf(tmp_path, stages=other, name="other").take(0, (card(),), tmp_path / "taken")
    assert (tmp_path / "taken").read_bytes() == finished.read_bytes()


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"dataset": {"name": "other"}},
        {"cohort": {"min_sites": 1, "round_deadline_s": 5}},
        {"stages": [{**STAGES[0], "rounds": 3}, STAGES[1]]},
    ],
    ids=["seed", "dataset", "cohort", "stage"],
)
def test_a_run_that_differs_in_anything_does_not(change: dict[str, Any], finished: Path, tmp_path: Path) -> None:
    assert not shelf(tmp_path, **change).take(0, (card(),), tmp_path / "taken")


def test_other_images_at_a_site_are_another_stage(finished: Path, tmp_path: Path) -> None:
    assert not shelf(tmp_path).take(0, (card("changed"),), tmp_path / "taken")


def test_what_was_trained_without_labels_serves_every_label_fraction(tmp_path: Path) -> None:
    pretrain = {"name": "pretrain", "method": "mae", "backbone": "vit", "rounds": 2}
    finetune = {"name": "finetune", "method": "supervised", "start_from": "previous", "rounds": 2}
    stages, few = [pretrain, finetune, {**finetune, "name": "again"}], {"name": "toy", "label_fraction": 0.1}
    write_arrays(tmp_path / "final", {"w": np.ones(3, np.float32)})
    of_few, of_all = shelf(tmp_path, stages=stages, dataset=few), shelf(tmp_path, stages=stages)
    of_few.put(0, (card(),), tmp_path / "final")
    of_few.put(1, (card(),), tmp_path / "final")
    assert of_all.take(0, (card(),), tmp_path / "taken")
    assert not of_all.take(1, (card(),), tmp_path / "taken")
    same = [pretrain, {**finetune, "label_fraction": 0.1}, {**finetune, "name": "again"}]
    assert shelf(tmp_path, stages=same).take(1, (card(),), tmp_path / "taken")


def test_the_last_stage_is_never_taken_because_sites_evaluate_it(finished: Path, tmp_path: Path) -> None:
    assert not shelf(tmp_path, stages=STAGES[:1]).take(0, (card(),), tmp_path / "taken")


def test_the_last_stage_of_one_run_may_be_the_beginning_of_another(tmp_path: Path) -> None:
    write_arrays(tmp_path / "final", {"w": np.ones(3, np.float32)})
    shelf(tmp_path, stages=STAGES[:1]).put(0, (card(),), tmp_path / "final")
    assert shelf(tmp_path).take(0, (card(),), tmp_path / "taken")


def test_a_stage_that_was_damaged_on_the_shelf_is_computed_once_more_and_put_there_again(
    finished: Path, tmp_path: Path
) -> None:
    """Else no run that begins so could ever go on, and none would say where the damage is."""
    (kept,) = (tmp_path / "shelf").iterdir()
    kept.write_bytes(kept.read_bytes()[:-1])
    assert not shelf(tmp_path).take(0, (card(),), tmp_path / "taken")
    assert not (tmp_path / "taken").exists()
    shelf(tmp_path).put(0, (card(),), finished)
    assert shelf(tmp_path).take(0, (card(),), tmp_path / "taken")
