import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fedward_core.arrays import read_arrays, write_arrays
from fedward_core.config import Config
from fedward_core.errors import CheckpointError
from fedward_core.spec import Local
from fedward_models.method import Method
from fedward_models.training.config import AdamWConfig, SGDConfig
from fedward_models.training.fit import FitReport, fit
from fedward_models.training.optimizer_state import OptimizerState
from fedward_models.training.phase import Phase

MakeLoader = Callable[..., Any]
MakeMethod = Callable[[], Method]


def train(method: Method, loader: Any, config: Config, state: OptimizerState | None = None) -> FitReport:
    phases = (Phase(local=Local(optimizer=config)),)
    return fit(method, loader, phases, round_=0, rounds=1, seed=0, device=torch.device("cpu"), state=state)


@pytest.mark.parametrize("config", [AdamWConfig(), SGDConfig(), SGDConfig(momentum=0)], ids=["adamw", "sgd", "plain"])
def test_a_state_that_went_through_a_file_goes_on_as_before(
    config: Config, tmp_path: Path, make_loader: MakeLoader, make_method: MakeMethod
) -> None:
    stayed, returned, loader = make_method(), make_method(), make_loader()
    state = train(stayed, loader, config).state
    train(returned, loader, config)
    write_arrays(tmp_path / "state.safetensors", state.arrays, state.facts)
    arrays, facts = read_arrays(tmp_path / "state.safetensors")
    train(stayed, loader, config, state)
    train(returned, loader, config, OptimizerState(arrays=arrays, facts=facts))
    pairs = zip(stayed.parameters(), returned.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


def test_a_state_is_named_by_slot_and_parameter(make_loader: MakeLoader, make_method: MakeMethod) -> None:
    method = make_method()
    state = train(method, make_loader(), AdamWConfig()).state
    shapes = {name: tuple(parameter.shape) for name, parameter in method.named_parameters()}
    expected = {f"0/{slot}/{name}": shapes[name] for slot in ("exp_avg", "exp_avg_sq") for name in shapes}
    assert {name: array.shape for name, array in state.arrays.items()} == expected
    assert json.loads(json.dumps(state.facts)) == state.facts


def test_training_on_leaves_the_old_state_as_it_was(make_loader: MakeLoader, make_method: MakeMethod) -> None:
    method = make_method()
    state = train(method, make_loader(), SGDConfig()).state
    before = {name: array.copy() for name, array in state.arrays.items()}
    train(method, make_loader(), SGDConfig(), state)
    for name, array in before.items():
        np.testing.assert_array_equal(state.arrays[name], array)


def test_moments_of_another_shape_are_refused(make_loader: MakeLoader, make_method: MakeMethod) -> None:
    state = train(make_method(), make_loader(), SGDConfig()).state
    changed = replace(state, arrays={**state.arrays, "0/momentum_buffer/head.bias": np.zeros(4, np.float32)})
    with pytest.raises(CheckpointError, match=r"'head\.bias' has shape \(4,\), expected \(3,\)"):
        train(make_method(), make_loader(), SGDConfig(), changed)


def test_moments_of_an_unknown_parameter_are_refused(make_loader: MakeLoader, make_method: MakeMethod) -> None:
    state = train(make_method(), make_loader(), SGDConfig()).state
    changed = replace(state, arrays={**state.arrays, "0/momentum_buffer/tail.bias": np.zeros(4, np.float32)})
    with pytest.raises(CheckpointError, match=r"'tail\.bias', which is not trained"):
        train(make_method(), make_loader(), SGDConfig(), changed)


def test_the_state_of_another_optimiser_is_refused(make_loader: MakeLoader, make_method: MakeMethod) -> None:
    state = train(make_method(), make_loader(), SGDConfig()).state
    with pytest.raises(CheckpointError, match="is of SGD, expected AdamW"):
        train(make_method(), make_loader(), AdamWConfig(), state)


def test_the_state_of_another_number_of_phases_is_refused(make_loader: MakeLoader, make_method: MakeMethod) -> None:
    state = OptimizerState.joined((OptimizerState(), OptimizerState()))
    with pytest.raises(CheckpointError, match="holds 2 phases, expected 1"):
        train(make_method(), make_loader(), AdamWConfig(), state)
