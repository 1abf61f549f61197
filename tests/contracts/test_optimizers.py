"""The contract of every registered optimiser."""

from pathlib import Path

import pytest
import torch
from torch import nn

from fedward_core import registry
from fedward_core.arrays import read_arrays, write_arrays
from fedward_models.training.optimizer import Trained, set_rate
from fedward_models.training.optimizer_state import OptimizerState

every_optimiser = pytest.mark.parametrize("name", registry.names("optimizers"))
SHAPES = {"matrix": (4, 3), "vector": (5,)}
SCALER = torch.amp.GradScaler("cpu", enabled=False)

Parameters = dict[str, nn.Parameter]


def start() -> Parameters:
    rng = torch.Generator().manual_seed(1)
    return {name: nn.Parameter(torch.randn(shape, generator=rng)) for name, shape in SHAPES.items()}


def build(name: str, parameters: Parameters, *, lr_scale: float = 1.0) -> torch.optim.Optimizer:
    """With its defaults, of which vectors are exempt as biases are."""
    trained = [Trained(parameter=p, lr_scale=lr_scale, exempt=p.ndim == 1) for p in parameters.values()]
    optimizer: torch.optim.Optimizer = registry.resolve("optimizers", name).default().build(trained)
    return optimizer


def step(optimizer: torch.optim.Optimizer, parameters: Parameters, *, part: float = 1.0) -> None:
    """A step towards ones, at a part of the peak rate."""
    for parameter in parameters.values():
        parameter.grad = parameter.detach() - 1
    set_rate(optimizer, part * optimizer.defaults["lr"])
    optimizer.step()


def distance(parameters: Parameters) -> float:
    return sum(float((parameter.detach() - 1).square().sum()) for parameter in parameters.values())


@every_optimiser
def test_a_state_that_went_through_a_file_goes_on_with_the_same_bits(name: str, tmp_path: Path) -> None:
    stayed, returned = start(), start()
    first, before = build(name, stayed), build(name, returned)
    for _ in range(3):
        step(first, stayed)
        step(before, returned)
    kept = OptimizerState.of(before, returned, SCALER)
    write_arrays(tmp_path / "state.safetensors", kept.arrays, kept.facts)
    arrays, facts = read_arrays(tmp_path / "state.safetensors")
    after = build(name, returned)
    OptimizerState(arrays=arrays, facts=facts).load_into(after, returned, SCALER)
    step(first, stayed)
    step(after, returned)
    assert all(torch.equal(stayed[key], returned[key]) for key in SHAPES)


@every_optimiser
def test_it_goes_downhill(name: str) -> None:
    parameters = start()
    optimizer, before = build(name, parameters), distance(parameters)
    for _ in range(20):
        step(optimizer, parameters, part=0.1)
    assert distance(parameters) < before


@every_optimiser
def test_at_rate_zero_nothing_moves(name: str) -> None:
    parameters = start()
    step(build(name, parameters), parameters, part=0.0)
    assert all(torch.equal(parameters[key], start()[key]) for key in SHAPES)


@every_optimiser
def test_a_layer_with_half_the_rate_goes_half_as_far(name: str) -> None:
    whole, half = start(), start()
    step(build(name, whole), whole)
    step(build(name, half, lr_scale=0.5), half)
    for key, began in start().items():
        torch.testing.assert_close(
            2 * (half[key] - began).detach(), (whole[key] - began).detach(), rtol=1e-3, atol=1e-6
        )
