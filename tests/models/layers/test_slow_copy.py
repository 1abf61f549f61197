"""A copy that follows slowly."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from fedward_models.layers.slow_copy import SlowCopy, rising_momentum


def modules() -> dict[str, nn.Module]:
    torch.manual_seed(0)
    return {"first": nn.Linear(3, 4), "second": nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 2))}


def shift(row: dict[str, nn.Module]) -> None:
    with torch.no_grad():
        for module in row.values():
            for parameter in module.parameters():
                parameter.add_(1)


@pytest.mark.parametrize("momentum", [0.0, 0.9, 1.0])
def test_it_keeps_so_much_of_each_parameter(momentum: float) -> None:
    row = modules()
    copy = SlowCopy(row)
    before = [parameter.clone() for parameter in copy.parameters()]
    shift(row)
    copy.follow(row, momentum=momentum)
    for now, then in zip(copy.parameters(), before, strict=True):
        torch.testing.assert_close(now, then + (1 - momentum))


def test_it_takes_no_gradient_and_gives_none() -> None:
    copy, batch = SlowCopy(modules()), torch.randn(5, 3, requires_grad=True)
    assert not copy(batch).requires_grad
    assert not any(parameter.requires_grad for parameter in copy.parameters())


def test_statistics_are_those_of_its_own_passes() -> None:
    row = modules()
    copy = SlowCopy(row)
    copy(torch.randn(5, 3))
    norms = [module for module in (*copy.modules(), *row["second"].modules()) if isinstance(module, nn.BatchNorm1d)]
    copy.follow(row, momentum=0.0)
    assert [int(norm.get_buffer("num_batches_tracked")) for norm in norms] == [1, 0]


def test_a_copy_that_restarts_is_the_modules() -> None:
    row = modules()
    copy = SlowCopy(row)
    shift(row)
    row["second"](torch.randn(5, 4))
    copy.restart(row)
    theirs = nn.ModuleDict(row).state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in copy.state_dict().items())


@given(first=st.floats(0, 1), part=st.floats(0, 1), later=st.floats(0, 1))
def test_momentum_rises_from_the_first_to_1(first: float, part: float, later: float) -> None:
    assert rising_momentum(first, 0.0) == pytest.approx(first)
    assert rising_momentum(first, 1.0) == 1.0
    assert rising_momentum(first, min(part, later)) <= rising_momentum(first, max(part, later)) + 1e-12
