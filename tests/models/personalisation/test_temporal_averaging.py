"""The running average over a site's epochs: its weight, its scope, and its counter."""

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from fedward_core.cards import Contract
from fedward_core.partition import Partition, Role
from fedward_models.backbones.small_cnn.config import SmallCNNConfig
from fedward_models.building import manifest_of
from fedward_models.method import Method
from fedward_models.methods.supervised.config import SupervisedConfig
from fedward_models.personalisation.config import ChannelDecouplingConfig
from fedward_models.personalisation.temporal_averaging import EPOCHS, TemporalAveraging

Settings = dict[str, Any]


def built(share: Fraction = Fraction(1, 2), **settings: Any) -> tuple[Method, TemporalAveraging, Partition]:
    torch.manual_seed(0)
    backbone = SmallCNNConfig(widths=(2, 4), hidden=(4,)).build(image_px=8, channels=1)
    method: Method = SupervisedConfig().build(backbone=backbone, contract=Contract(classes=("a", "b")))
    personalisation = ChannelDecouplingConfig(**settings).build()
    personalisation.extend(method)
    partition = Partition(manifest_of(method), personalisation.rules(method), share=share)
    return method, TemporalAveraging(personalisation.config, partition), partition


def weights(method: Method) -> dict[str, Tensor]:
    return {name: parameter.detach().clone() for name, parameter in method.named_parameters()}


def move(method: Method, by: float) -> dict[str, Tensor]:
    with torch.no_grad():
        for parameter in method.parameters():
            parameter.add_(by)
    return weights(method)


def test_the_weight_is_a_half_then_two_thirds_and_grows_to_its_maximum() -> None:
    term = built(temporal_averaging=0.8)[1]
    assert [term.weight(epoch) for epoch in (1, 2, 3, 4, 9)] == [0.5, float(Fraction(2, 3)), 0.75, 0.8, 0.8]
    assert built(temporal_averaging=0.8, averaging_ramp=False)[1].weight(1) == 0.8


def test_after_one_epoch_the_weights_are_the_mean_of_start_and_end() -> None:
    method, term, _ = built()
    start = weights(method)
    term.begin(method)
    end = move(method, 0.3)
    term.after_epoch(method)
    assert all(torch.equal(now, 0.5 * end[name] + 0.5 * start[name]) for name, now in weights(method).items())


def test_later_epochs_average_with_the_average_so_far() -> None:
    method, term, _ = built()
    expected = weights(method)
    term.begin(method)
    for weight in (1 / 2, 2 / 3, 3 / 4):
        moved = move(method, 0.3)
        term.after_epoch(method)
        expected = {name: weight * moved[name] + (1 - weight) * expected[name] for name in moved}
    for name, now in weights(method).items():
        torch.testing.assert_close(now, expected[name])


def test_weight_one_without_a_ramp_changes_no_bit() -> None:
    method, term, _ = built(temporal_averaging=1.0, averaging_ramp=False)
    term.begin(method)
    end = move(method, 0.3)
    term.after_epoch(method)
    assert all(torch.equal(now, end[name]) for name, now in weights(method).items())


def test_private_scope_leaves_shared_weights_as_the_optimiser_left_them() -> None:
    method, term, partition = built(averaging_scope="private")
    start = weights(method)
    term.begin(method)
    end = move(method, 0.3)
    term.after_epoch(method)
    for name, now in weights(method).items():
        shared = partition.shared_mask(name)
        is_private = torch.zeros_like(now, dtype=torch.bool) if shared is None else torch.from_numpy(~shared)
        expected = torch.where(is_private, 0.5 * end[name] + 0.5 * start[name], end[name])
        assert torch.equal(now, expected)


def test_epochs_are_counted_over_rounds_and_the_count_stays_at_the_site() -> None:
    method, term, partition = built()
    for _ in range(3):
        term.begin(method)
        term.after_epoch(method)
    assert int(method.get_buffer(EPOCHS)) == 3
    for share in (Fraction(0), Fraction(1, 2), Fraction(1)):
        assert partition.at(share).role(EPOCHS) is Role.PRIVATE


def test_a_site_goes_on_from_its_average_and_counts_its_epochs_from_round_to_round(
    federate: Callable[..., Any],
) -> None:
    """Against rounds of plain averaging, each from the average so far."""
    alone: Settings = {"sites": {"a": 8}, "network": {"widths": (3,), "hidden": (), "norm": "none"}}
    personal = {"name": "channel_decoupling", "private": 0, "distillation": 0, "temporal_averaging": 0.7}
    federation, plain = federate(personal, **alone), federate(**alone)
    for round_, weight in enumerate((1 / 2, 2 / 3, 0.7)):
        federation.run(1)
        before, plain.round, plain.bases = plain.weights, round_, {}
        trained = plain.run(1).weights
        plain.weights = {n: np.float32(weight) * trained[n] + np.float32(1 - weight) * before[n] for n in trained}
        for name, expected in plain.weights.items():
            np.testing.assert_allclose(federation.personal("a")[name], expected, rtol=1e-5, atol=1e-7)
        assert federation.personal("a")[EPOCHS] == round_ + 1


@pytest.mark.parametrize("change", [lambda m: m.get_buffer("backbone.stages.0.norm.running_mean").fill_(7.0)])
def test_statistics_of_norms_are_not_averaged(change: Callable[[Method], Tensor]) -> None:
    method, term, _ = built()
    term.begin(method)
    expected = change(method).clone()
    term.after_epoch(method)
    assert torch.equal(method.get_buffer("backbone.stages.0.norm.running_mean"), expected)


def test_what_is_not_trained_is_not_averaged() -> None:
    method, term, _ = built()
    method.get_parameter("head.bias").requires_grad_(False)
    term.begin(method)
    end = move(method, 0.3)
    term.after_epoch(method)
    assert torch.equal(method.get_parameter("head.bias"), end["head.bias"])


def test_without_averaging_the_state_has_no_counter() -> None:
    torch.manual_seed(0)
    backbone = SmallCNNConfig(widths=(2,), hidden=()).build(image_px=8, channels=1)
    method: Method = SupervisedConfig().build(backbone=backbone, contract=Contract(classes=("a", "b")))
    before = list(method.state_dict())
    ChannelDecouplingConfig(temporal_averaging=None).build().extend(method)
    assert list(method.state_dict()) == before
