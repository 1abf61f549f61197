"""Passes through one half: blind to the other half, and without a trace."""

from fractions import Fraction
from typing import Any

import pytest
import torch
from torch import Tensor

from fedward_core.cards import Contract
from fedward_core.partition import Partition
from fedward_core.registry import resolve
from fedward_models.building import manifest_of
from fedward_models.method import Method
from fedward_models.methods.supervised.config import SupervisedConfig
from fedward_models.personalisation.config import ChannelDecouplingConfig
from fedward_models.personalisation.halves import Half, gates, only

HALF = Fraction(1, 2)
NETWORKS: list[dict[str, Any]] = [
    {"name": "small_cnn", "widths": (4, 6), "hidden": (6,)},
    {"name": "small_cnn", "widths": (4, 6), "hidden": (), "norm": "none"},
    {"name": "vit", "width": 16, "depth": 2, "heads": 4, "patch_px": 4},
]


def method_over(network: dict[str, Any]) -> Method:
    torch.manual_seed(0)
    backbone = resolve("backbones", network["name"])(**network).build(image_px=8, channels=1)
    method = SupervisedConfig().build(backbone=backbone, contract=Contract(classes=("a", "b", "c")))
    assert isinstance(method, Method)
    torch.nn.init.normal_(method.get_parameter("head.weight"))
    return method


def images() -> Tensor:
    return torch.randn(5, 1, 8, 8, generator=torch.Generator().manual_seed(1))


def half_logits(method: Method, half: Half) -> Tensor:
    with only(half, method, gates(method, HALF)):
        return method.logits(images())


def change(method: Method, half: Half) -> None:
    """Add noise to the entries of one half, in every tensor that is cut."""
    rules = ChannelDecouplingConfig().build().rules(method)
    partition = Partition(manifest_of(method), rules, share=HALF)
    for name, tensor in method.state_dict().items():
        shared = partition.shared_mask(name)
        if shared is not None:
            where = torch.from_numpy(shared if half is Half.SHARED else ~shared)
            tensor[where] += torch.randn(int(where.sum()))


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize(("half", "other"), [(Half.SHARED, Half.PRIVATE), (Half.PRIVATE, Half.SHARED)])
def test_a_pass_through_one_half_does_not_see_the_other(network: dict[str, Any], half: Half, other: Half) -> None:
    method = method_over(network)
    before = half_logits(method, half)
    change(method, other)
    assert torch.equal(half_logits(method, half), before)
    change(method, half)
    assert not torch.allclose(half_logits(method, half), before)


def test_over_a_single_layer_both_halves_add_up_to_the_whole() -> None:
    """Nothing crosses there, so each feature counts in exactly one half, and the classifier's bias in both."""
    method = method_over({"name": "small_cnn", "widths": (4,), "hidden": (), "norm": "none"})
    bias = method.get_parameter("head.bias")
    bias.data.normal_()
    halves = half_logits(method, Half.SHARED) + half_logits(method, Half.PRIVATE)
    torch.testing.assert_close(halves - bias, method.logits(images()))


@pytest.mark.parametrize("network", NETWORKS)
def test_gradients_of_one_half_reach_no_entry_of_the_other(network: dict[str, Any]) -> None:
    method = method_over(network)
    rules = ChannelDecouplingConfig().build().rules(method)
    partition = Partition(manifest_of(method), rules, share=HALF)
    for half in Half:
        method.zero_grad()
        half_logits(method, half).square().sum().backward()  # type: ignore[no-untyped-call]
        for name, parameter in method.named_parameters():
            shared = partition.shared_mask(name)
            if shared is None:
                continue
            assert parameter.grad is not None
            reached = torch.from_numpy(shared if half is Half.SHARED else ~shared)
            assert parameter.grad[~reached].abs().sum() == 0
            assert parameter.grad[reached].abs().sum() > 0


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("share", [Fraction(0), Fraction(1)])
def test_without_two_halves_nothing_is_masked(network: dict[str, Any], share: Fraction) -> None:
    assert gates(method_over(network), share) == ()


def test_statistics_and_counters_are_bit_identical_after_a_pass() -> None:
    method = method_over(NETWORKS[0]).train()
    method.logits(images())
    before = {name: tensor.clone() for name, tensor in method.state_dict().items()}
    for half in Half:
        half_logits(method, half)
    assert all(torch.equal(tensor, before[name]) for name, tensor in method.state_dict().items())
    method.logits(images())
    assert not torch.equal(
        method.state_dict()["backbone.stages.0.norm.running_mean"], before["backbone.stages.0.norm.running_mean"]
    )


def test_a_pass_normalises_by_the_batch_as_training_does() -> None:
    """The first convolution sees the whole image in both passes, so its kept channels come out as in the full pass."""
    method = method_over(NETWORKS[0]).train()
    outputs = []
    handle = method.get_submodule("backbone.stages.0").register_forward_hook(lambda *call: outputs.append(call[2]))
    method.logits(images())
    half_logits(method, Half.SHARED)
    handle.remove()
    # Our own hook came first, so it sees the output before it is masked.
    torch.testing.assert_close(outputs[0], outputs[1], rtol=0, atol=0)


def test_a_failed_pass_leaves_the_method_as_it_was() -> None:
    method = method_over(NETWORKS[0]).train()
    before = method.eval().logits(images())
    method.train()
    with pytest.raises(RuntimeError), only(Half.SHARED, method, gates(method, HALF)):
        method.logits(torch.zeros(2, 7, 8, 8))
    assert all(module.track_running_stats for module in method.modules() if hasattr(module, "track_running_stats"))
    assert torch.equal(method.eval().logits(images()), before)


def test_private_activations_that_are_not_finite_stay_out_of_the_shared_half() -> None:
    method = method_over({"name": "small_cnn", "widths": (4, 6), "hidden": (6,), "norm": "none"})
    before = half_logits(method, Half.SHARED)
    method.state_dict()["backbone.stages.0.conv.weight"][2:] = float("nan")
    assert torch.equal(half_logits(method, Half.SHARED), before)


def test_a_group_of_one_channel_is_in_both_halves() -> None:
    method = method_over({"name": "small_cnn", "widths": (1, 4), "hidden": (), "norm": "none"})
    masked = {gate.module for gate in gates(method, HALF)}
    assert masked == {"backbone.stages.1", "head"}
