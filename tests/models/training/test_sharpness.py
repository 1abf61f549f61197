"""Sharpness-aware minimisation: its step written out, and weights that come back to the bit."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from fedward_core.cards import Contract
from fedward_core.spec import Local
from fedward_models.backbones.small_cnn.config import SmallCNNConfig
from fedward_models.batch import Batch
from fedward_models.method import Method
from fedward_models.methods.supervised.config import SupervisedConfig
from fedward_models.step import Clock, StepOutput
from fedward_models.training.config import AdamWConfig, SGDConfig
from fedward_models.training.fit import fit
from fedward_models.training.phase import Phase
from fedward_models.training.sharpness import uphill

MakeMethod = Callable[[], Method]
MakeLoader = Callable[..., Any]


def trained(method: Method, loader: Any, local: Local) -> Method:
    fit(method, loader, (Phase(local=local),), round_=0, rounds=1, seed=1, device=torch.device("cpu"))
    return method


def test_weights_are_moved_by_rho_and_come_back_to_the_bit() -> None:
    parameters = [nn.Parameter(torch.randn(3, 2)), nn.Parameter(torch.randn(4)), nn.Parameter(torch.randn(2))]
    for parameter in parameters[:2]:
        parameter.grad = torch.randn_like(parameter)
    before = [parameter.detach().clone() for parameter in parameters]
    with uphill(parameters, 0.05):
        moves = [parameter.detach() - weights for parameter, weights in zip(parameters, before, strict=True)]
    assert float(torch.cat([move.flatten() for move in moves]).norm()) == pytest.approx(0.05, rel=1e-4)
    assert not moves[2].any()
    assert all(torch.equal(parameter, weights) for parameter, weights in zip(parameters, before, strict=True))


def test_weights_come_back_when_the_second_pass_fails() -> None:
    parameter = nn.Parameter(torch.ones(2))
    parameter.grad = torch.ones(2)
    with pytest.raises(RuntimeError, match="out of memory"), uphill([parameter], 1.0):
        raise RuntimeError("out of memory")
    assert torch.equal(parameter.detach(), torch.ones(2))


def test_without_rho_a_step_is_that_of_the_optimizer(make_method: MakeMethod, make_loader: MakeLoader) -> None:
    """Bit for bit; with a rho the weights differ."""
    loader = make_loader()
    plain = trained(make_method(), loader, Local(optimizer=AdamWConfig())).state_dict()
    none = trained(make_method(), loader, Local(optimizer=AdamWConfig(), sam_rho=0.0)).state_dict()
    moved = trained(make_method(), loader, Local(optimizer=AdamWConfig(), sam_rho=0.05)).state_dict()
    assert all(torch.equal(array, none[name]) for name, array in plain.items())
    assert not all(torch.equal(array, moved[name]) for name, array in plain.items())


def test_steps_are_those_of_the_paper(
    make_method: MakeMethod, make_loader: MakeLoader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against a plain loop; both passes of a step skip the same blocks."""
    loader, rho, lr = make_loader(), 0.05, 0.1
    batches: list[Batch] = []
    method = make_method()
    original = type(method).training_step

    def watched(self: Method, batch: Batch, clock: Clock) -> StepOutput:
        batches.append(batch)
        return original(self, batch, clock)

    monkeypatch.setattr(type(method), "training_step", watched)
    found = trained(method, loader, Local(optimizer=SGDConfig(lr=lr, momentum=0.0), sam_rho=rho))
    monkeypatch.undo()
    plain = make_method().train()
    for first, second in zip(batches[::2], batches[1::2], strict=True):
        assert first is second
        gradients = _gradients(plain, first)
        norm = torch.cat([gradient.flatten() for gradient in gradients]).norm()
        before = [parameter.detach().clone() for parameter in plain.parameters()]
        _move(plain, [rho * gradient / norm for gradient in gradients])
        gradients = _gradients(plain, first)
        for parameter, weights, gradient in zip(plain.parameters(), before, gradients, strict=True):
            parameter.data = weights - lr * gradient
    for parameter, expected in zip(found.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(parameter, expected, atol=1e-6, rtol=1e-5)


def test_running_statistics_take_in_both_passes_of_a_step(make_loader: MakeLoader) -> None:
    backbone = SmallCNNConfig(widths=(4,), norm="batch").build(image_px=8, channels=1)
    method = SupervisedConfig().build(backbone=backbone, contract=Contract(classes=("a", "b", "c")))
    trained(method, make_loader(4), Local(optimizer=SGDConfig(), sam_rho=0.05))
    counts = [state for name, state in method.state_dict().items() if name.endswith("num_batches_tracked")]
    assert [int(count) for count in counts] == [2]


def _gradients(method: Method, batch: Batch) -> list[torch.Tensor]:
    torch.manual_seed(batch.seed)
    return list(
        torch.autograd.grad(
            method.training_step(batch, Clock()).loss, list(method.parameters()), materialize_grads=True
        )
    )


def _move(method: Method, moves: list[torch.Tensor]) -> None:
    for parameter, move in zip(method.parameters(), moves, strict=True):
        parameter.data += move
