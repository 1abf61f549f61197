"""The focal loss against its slow twin, and the method as Fedward finds it by its name."""

import math

import pytest
import torch
from fedward_core import registry
from fedward_core.cards import Contract, Task
from fedward_core.errors import SpecError
from fedward_core.spec import Spec
from fedward_models.building import build_method

from own_method.focal import focal_loss

SPEC = {
    "name": "own",
    "dataset": {"name": "simulated", "image_px": 16},
    "stages": [{"name": "train", "method": "focal", "backbone": {"name": "small_cnn", "widths": [4]}, "rounds": 2}],
}


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize(("images", "classes"), [(1, 1), (1, 3), (5, 2)])
def test_the_loss_is_that_of_the_paper(gamma: float, images: int, classes: int) -> None:
    logits, labels = torch.randn(images, classes), torch.arange(images) % classes
    losses = focal_loss(logits, labels, gamma=gamma)
    for row, label, found in zip(logits.tolist(), labels.tolist(), losses.tolist(), strict=True):
        probability = math.exp(row[label]) / sum(math.exp(value) for value in row)
        expected = -((1 - probability) ** gamma) * math.log(probability)
        assert found == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("gamma", [0.0, 0.3, 0.5, 1.0, 2.0])
def test_an_image_that_is_surely_right_has_no_slope(gamma: float) -> None:
    logits = torch.tensor([[60.0, 0.0], [200.0, 0.0], [0.0, 0.0]], requires_grad=True)
    loss = focal_loss(logits, torch.zeros(3, dtype=torch.long), gamma=gamma).sum()
    (slopes,) = torch.autograd.grad(loss, logits)
    assert slopes[:2].abs().max() < 1e-20
    assert slopes[2].abs().min() > 0


def test_a_spec_names_it_and_it_is_built() -> None:
    assert "focal" in registry.names("methods")
    method = build_method(Spec.parse(SPEC), 0, Contract(classes=("normal", "ill")))
    torch.testing.assert_close(method.predict(torch.zeros(3, 1, 16, 16)).sum(dim=1), torch.ones(3))


def test_labels_of_pixels_are_refused() -> None:
    with pytest.raises(SpecError, match="use supervised"):
        build_method(Spec.parse(SPEC), 0, Contract(classes=("normal", "ill"), task=Task.SEGMENTATION))
