"""The layers that read the images run once for all passes of a step: the same losses, and gradients to rounding."""

import gc
from contextlib import nullcontext
from fractions import Fraction
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fedward_core.cards import Contract
from fedward_core.registry import resolve
from fedward_models.batch import Batch
from fedward_models.losses.cyclic_distillation import cyclic_distillation
from fedward_models.method import Method
from fedward_models.methods.supervised.config import SupervisedConfig
from fedward_models.personalisation.config import ChannelDecouplingConfig
from fedward_models.personalisation.distillation import CyclicDistillation
from fedward_models.personalisation.first_layers import FirstLayers
from fedward_models.personalisation.halves import Half, gates, only
from fedward_models.step import Clock

HALF = Fraction(1, 2)
NETWORKS: list[dict[str, Any]] = [
    {"name": "small_cnn", "widths": (4, 6), "hidden": (6,)},
    {"name": "small_cnn", "widths": (4, 6), "hidden": (6,), "norm": "none"},
    {"name": "preact_resnet", "width": 4},
    {"name": "vit", "width": 16, "depth": 2, "heads": 4, "patch_px": 4},
]


def method_over(network: dict[str, Any]) -> Method:
    torch.manual_seed(0)
    backbone = resolve("backbones", network["name"])(**network).build(image_px=8, channels=1)
    method = SupervisedConfig().build(backbone=backbone, contract=Contract(classes=("a", "b", "c")))
    assert isinstance(method, Method)
    nn.init.normal_(method.get_parameter("head.weight"))
    return method.train()


def batch(seed: int = 1) -> Batch:
    images = torch.randn(6, 1, 8, 8, generator=torch.Generator().manual_seed(seed))
    return Batch(images=images, labels=torch.arange(6) % 3)


def term_of(method: Method) -> CyclicDistillation:
    return CyclicDistillation(ChannelDecouplingConfig(), gates(method, HALF))


def together(method: Method) -> Tensor:
    """The loss of a step as training computes it."""
    term = term_of(method)
    term.begin(method)
    output = method.training_step(batch_of_step := batch(), Clock())
    loss = output.loss + term.loss(method, batch_of_step, output)
    term.end(method)
    return loss


def apart(method: Method) -> Tensor:
    """The same with three passes that know nothing of each other."""
    loss, logits = method.training_step(batch(), Clock()).loss, []
    for half in Half:
        with only(half, method, gates(method, HALF)):
            logits.append(method.logits(batch().images))
    return loss + 0.5 * cyclic_distillation(*logits)


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network["name"])
def test_losses_are_the_same_bits_and_gradients_the_same_to_rounding(network: dict[str, Any]) -> None:
    one, other = method_over(network), method_over(network)
    losses = together(one), apart(other)
    assert torch.equal(*losses)
    for loss in losses:
        torch.autograd.backward(loss)
    for ours, theirs in zip(one.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-5, atol=1e-6)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(one.buffers(), other.buffers(), strict=True))


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[nn.Module]:
    """Every convolution that ran."""
    ran: list[nn.Module] = []
    forward = nn.Conv2d.forward

    def count(module: nn.Conv2d, given: Tensor) -> Tensor:
        ran.append(module)
        return forward(module, given)

    monkeypatch.setattr(nn.Conv2d, "forward", count)
    return ran


def test_the_first_layer_runs_once_a_step_and_the_others_three_times(counted: list[nn.Module]) -> None:
    method = method_over(NETWORKS[0])
    together(method)
    first, second = (module for module in method.modules() if isinstance(module, nn.Conv2d))
    assert (counted.count(first), counted.count(second)) == (1, 3)


def test_other_images_are_computed_anew() -> None:
    method = method_over(NETWORKS[1])
    expected = method.logits(batch(seed=2).images)
    first = FirstLayers(method, ["backbone.stages.0"])
    method.logits(batch(seed=1).images)
    with first.recalled():
        assert torch.equal(method.logits(batch(seed=2).images), expected)
    first.forget()


def test_where_the_method_saw_other_images_the_halves_share_their_own(counted: list[nn.Module]) -> None:
    """E.g. adversarial training, whose own pass is over images that it made."""
    method, images = method_over(NETWORKS[0]), batch(seed=2).images
    term = term_of(method)
    term.begin(method)
    output = method.training_step(batch(seed=1), Clock())
    counted.clear()
    term.loss(method, Batch(images=images), output)
    assert counted.count(method.get_submodule("backbone.stages.0.conv")) == 1
    term.end(method)


@pytest.mark.parametrize("failed", [False, True])
def test_nothing_is_left_on_the_method(failed: bool) -> None:
    method = method_over(NETWORKS[0])
    before = {module: (dict(module._forward_hooks), set(vars(module))) for module in method.modules()}
    term = term_of(method)
    term.begin(method)
    with pytest.raises(RuntimeError) if failed else nullcontext():
        wrong = Batch(images=torch.zeros(2, 5, 8, 8) if failed else batch().images)
        term.loss(method, wrong, method.training_step(batch(), Clock()))
        term.end(method)
    del term
    gc.collect()
    after = {module: (dict(module._forward_hooks), set(vars(module))) for module in method.modules()}
    assert after == before
