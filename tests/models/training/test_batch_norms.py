"""A batch norm that finds one value for each channel is told in words that help."""

from collections.abc import Iterator

import pytest
import torch

from fedward_core.cards import Contract
from fedward_core.errors import DataError
from fedward_core.spec import Local
from fedward_models.backbones.preact_resnet.config import PreActResNetConfig
from fedward_models.batch import Batch
from fedward_models.methods.supervised.config import SupervisedConfig
from fedward_models.methods.supervised.supervised import Supervised
from fedward_models.training.batch_norms import told_of_single_values
from fedward_models.training.fit import fit
from fedward_models.training.phase import Phase


class OneImage:
    """A site with one image of 8 pixels."""

    num_examples, num_steps = 1, 1

    def epoch(self, seed: int) -> Iterator[Batch]:
        yield Batch(images=torch.zeros(1, 1, 8, 8), labels=torch.tensor([0]))


def test_one_image_whose_last_map_has_one_place_is_refused() -> None:
    backbone = PreActResNetConfig(width=2).build(image_px=8, channels=1)
    method = Supervised(SupervisedConfig(), backbone=backbone, contract=Contract(classes=("no", "yes")))
    phase = Phase(local=Local(batch_size=1))
    with pytest.raises(DataError, match=r"found one value in a batch of 1: raise local.batch_size"):
        fit(method, OneImage(), (phase,), round_=0, rounds=1, seed=0, device=torch.device("cpu"))


def test_other_faults_are_left_as_they_are() -> None:
    with pytest.raises(ValueError, match="something else"), told_of_single_values(1):
        raise ValueError("something else")
