"""LARS against its slow twin, and what it spares."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from fedward_core.spec import Local
from fedward_models.method import Method
from fedward_models.training.config import LARSConfig
from fedward_models.training.lars import LARS, local_rate
from fedward_models.training.optimizer import build_optimizer
from fedward_models.training.optimizer_state import OptimizerState


def norm(values: Sequence[float]) -> float:
    return float(sum(value**2 for value in values) ** 0.5)


def slow_lars(weights: list[float], gradients: list[list[float]], *, lr: float, momentum: float, **group: float) -> Any:
    velocity = [0.0] * len(weights)
    for gradient in gradients:
        decayed = [g + group["weight_decay"] * w for g, w in zip(gradient, weights, strict=True)]
        factor = 1.0
        if group["trust"] and norm(weights) > 0 and norm(decayed) > 0:
            factor = group["trust"] * norm(weights) / norm(decayed)
        velocity = [momentum * v + factor * g for v, g in zip(velocity, decayed, strict=True)]
        weights = [w - lr * v for w, v in zip(weights, velocity, strict=True)]
    return weights


@given(
    size=st.integers(1, 5), seed=st.integers(0, 99), decay=st.sampled_from([0.0, 0.1]), trust=st.sampled_from([0, 1])
)
def test_steps_agree_with_their_slow_twin(size: int, seed: int, decay: float, trust: float) -> None:
    rng = torch.Generator().manual_seed(seed)
    weight = nn.Parameter(torch.randn(size, 1, generator=rng, dtype=torch.float64))
    gradients = [torch.randn(size, 1, generator=rng, dtype=torch.float64) for _ in range(3)]
    group = {"weight_decay": decay, "trust": 0.01 * trust}
    expected = slow_lars(
        weight.flatten().tolist(), [g.flatten().tolist() for g in gradients], lr=0.3, momentum=0.9, **group
    )
    optimizer = LARS([{"params": [weight], **group}], lr=0.3, momentum=0.9)
    for gradient in gradients:
        weight.grad = gradient
        optimizer.step()
    assert weight.flatten().tolist() == pytest.approx(expected, rel=1e-9)


@given(scale=st.floats(1e-3, 1e3))
def test_the_length_of_a_gradient_does_not_matter(scale: float) -> None:
    weight, gradient = torch.tensor([[3.0, 4.0]]), torch.tensor([[0.0, 2.0]])
    step = gradient * scale * local_rate(weight, gradient * scale, trust=0.01)
    torch.testing.assert_close(step, torch.tensor([[0.0, 0.01 * 5]]))


@pytest.mark.parametrize("zero", ["weight", "gradient"])
def test_where_one_is_zero_the_gradient_stays_as_it_is(zero: str) -> None:
    weight, gradient = (torch.zeros(2, 2) if name == zero else torch.ones(2, 2) for name in ("weight", "gradient"))
    assert float(local_rate(weight, gradient, trust=0.01)) == 1


def test_biases_and_norms_neither_decay_nor_adapt(make_method: Callable[[], Method]) -> None:
    method = make_method()
    parameters = dict(method.named_parameters())
    optimizer = build_optimizer(method, parameters, Local(optimizer=LARSConfig(weight_decay=0.5, trust=0.02)))
    group_of = {id(p): group for group in optimizer.param_groups for p in group["params"]}
    for name, parameter in parameters.items():
        spared = parameter.ndim == 1 or name in method.no_weight_decay
        expected = (0.0, 0.0) if spared else (0.5, 0.02)
        assert (group_of[id(parameter)]["weight_decay"], group_of[id(parameter)]["trust"]) == expected, name


def test_without_decay_the_spared_still_do_not_adapt(make_method: Callable[[], Method]) -> None:
    method = make_method()
    optimizer = build_optimizer(method, dict(method.named_parameters()), Local(optimizer=LARSConfig(weight_decay=0)))
    assert {group["trust"] for group in optimizer.param_groups} == {0.0, 0.001}


def test_what_it_remembers_is_kept_between_rounds() -> None:
    """Four steps, or two and two with what was kept: the same bits."""
    gradients = torch.randn(4, 3, 2, generator=torch.Generator().manual_seed(0))
    weights, scaler = [], torch.amp.GradScaler("cpu", enabled=False)
    for interrupted in (False, True):
        named = {"weight": nn.Parameter(torch.ones(3, 2))}
        group = {"params": list(named.values()), "weight_decay": 0.1, "trust": 0.01}
        optimizer = LARS([group], lr=0.3, momentum=0.9)
        for number, gradient in enumerate(gradients):
            if interrupted and number == 2:
                kept = OptimizerState.of(optimizer, named, scaler)
                optimizer = LARS([group], lr=0.3, momentum=0.9)
                kept.load_into(optimizer, named, scaler)
            named["weight"].grad = gradient.clone()
            optimizer.step()
        weights.append(named["weight"].detach())
    assert torch.equal(*weights)
