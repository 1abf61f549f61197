"""The network of the LG-FedAvg comparison, by its own name."""

import pytest
import torch

from fedward_core.cards import Contract
from fedward_core.errors import SpecError
from fedward_models.backbones.lenet.config import LeNetConfig
from fedward_models.methods.supervised.config import SupervisedConfig


@pytest.mark.parametrize(("classes", "parameters"), [(10, 64_102), (100, 73_192)])
def test_it_has_as_many_parameters_as_published(classes: int, parameters: int) -> None:
    contract = Contract(classes=tuple(map(str, range(classes))), channels=3)
    method = SupervisedConfig().build(backbone=LeNetConfig().build(image_px=32, channels=3), contract=contract)
    assert sum(parameter.numel() for parameter in method.parameters()) == parameters


def test_its_layers_are_two_convolutions_and_two_hidden_ones() -> None:
    network = LeNetConfig().build(image_px=32, channels=3)
    assert [group.channels for group in network.channel_groups()] == [6, 16, 120, 100]
    assert network(torch.zeros(2, 3, 32, 32)).shape == (2, 100)
    sizes = [tuple(parameter.shape) for parameter in network.parameters() if parameter.ndim > 1]
    assert sizes == [(6, 3, 5, 5), (16, 6, 5, 5), (120, 400), (100, 120)]


def test_images_that_are_too_small_are_refused() -> None:
    with pytest.raises(SpecError, match="too small"):
        LeNetConfig().build(image_px=12, channels=1)
