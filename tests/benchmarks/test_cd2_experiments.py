"""The trials of CD2-pFed run their arms as they say, and count what they say."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchmarks.experiments import cd2_skew, cd2_table1
from benchmarks.experiments.federation import digits


def test_the_best_of_a_site_is_of_its_evaluations_so_far_and_weighs_as_its_images_do() -> None:
    evaluations: dict[int, cd2_table1.Evaluation] = {
        4: {"a": (0.9, 30), "b": (0.2, 10)},
        9: {"a": (0.7, 30), "b": (0.4, 10)},
        14: {"a": (1.0, 30), "b": (1.0, 10)},
    }
    found = cd2_table1.figures_of(evaluations, 9)
    assert found == {"local": 62.5, "best": 77.5, "worst_site": 40.0}  # (21 + 4) / 40, (27 + 4) / 40


def test_figures_that_an_earlier_version_did_not_keep_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    old = {"method": "local", "seed": 0, "rounds": 5, "local": 80.0, "new": 50.0}
    cd2_table1._print([old, {**old, "seed": 1, "local": 90.0, "best": 95.0}])
    assert "| local | 2 | 85.00 ± 5.00 | 95.00 ± 0.00 | 50.00 ± 0.00 | 87.92 | 10.03 |" in capsys.readouterr().out
    cd2_table1._print([old])
    assert "| local | 1 | 80.00 ± 0.00 | - |" in capsys.readouterr().out


@pytest.mark.parametrize("method", cd2_table1.PERSONAL)
def test_every_row_of_the_first_table_trains_as_lg_fedavg_and_none_for_longer(method: str) -> None:
    spec = cd2_table1.spec_of(method, 0, 1000, augment=True)
    assert sum(stage.rounds for stage in spec.stages) == 1000
    assert (spec.cohort.sites_per_round, spec.evaluate.best) == (10, None)
    for stage in spec.stages:
        local, optimizer = stage.local, stage.local.optimizer.model_dump()
        assert (local.epochs, local.batch_size, local.optimizer_state, local.augment) == (1, 50, "reset", True)
        assert {key: optimizer[key] for key in ("name", "lr", "momentum")} == {
            "name": "sgd",
            "lr": 0.1,
            "momentum": 0.5,
        }
        assert (local.schedule.shape, stage.aggregate.name) == ("constant", "weighted_mean")
    backbone = spec.backbone_of(len(spec.stages) - 1)
    assert backbone is not None
    assert backbone.name == "lenet"


@pytest.mark.parametrize("skew", cd2_skew.SKEWS)
@pytest.mark.parametrize("arm", cd2_skew.ARMS)
def test_every_arm_trains_as_many_rounds_of_two_epochs_under_each_skew(arm: str, skew: str) -> None:
    spec = cd2_skew.spec_of(skew=skew, arm=arm, seed=0, rounds=40)
    assert sum(stage.rounds for stage in spec.stages) == 40
    locals_ = [stage.local for stage in spec.stages]
    assert all((local.epochs, local.batch_size, local.optimizer_state) == (2, 8, "reset") for local in locals_)
    assert len({str(local) for local in locals_}) == 1


def test_a_site_under_concept_shift_reads_test_images_as_it_reads_training_images() -> None:
    images, labels, *_ = digits(0)
    truth = {image.tobytes(): label for image, label in zip(images, labels, strict=True)}
    for _, pictures, told, num_train in cd2_skew.concept_shift(0, Path()):
        real = np.array([truth[picture.tobytes()] for picture in pictures])
        meanings = [reading(real[part], told[part]) for part in (slice(num_train), slice(num_train, None))]
        both = meanings[0].keys() & meanings[1].keys()
        assert {digit: meanings[0][digit] for digit in both} == {digit: meanings[1][digit] for digit in both}
        assert sum(digit != name for digit, name in {**meanings[0], **meanings[1]}.items()) == cd2_skew.MOVED
        assert num_train == 40


def reading(real: Any, told: Any) -> dict[int, int]:
    """What each digit is called; one name each."""
    pairs = set(zip(real.tolist(), told.tolist(), strict=True))
    assert len(pairs) == len(dict(pairs))
    return dict(pairs)
