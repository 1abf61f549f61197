"""A copy that follows slowly."""

import pytest
import torch
from torch import nn

from fedward_models.layers.slow_copy import SlowCopy


def modules() -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    return nn.Linear(3, 4), nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 2))


def shifted(row: tuple[nn.Module, ...]) -> None:
    with torch.no_grad():
        for module in row:
            for parameter in module.parameters():
                parameter.add_(1)


@pytest.mark.parametrize("momentum", [0.0, 0.9, 1.0])
def test_it_keeps_so_much_of_each_parameter(momentum: float) -> None:
    row = modules()
    copy = SlowCopy(*row)
    before = [parameter.clone() for parameter in copy.parameters()]
    shifted(row)
    copy.follow(*row, momentum=momentum)
    for now, then in zip(copy.parameters(), before, strict=True):
        torch.testing.assert_close(now, then + (1 - momentum))


def test_it_takes_no_gradient_and_gives_none() -> None:
    copy, batch = SlowCopy(*modules()), torch.randn(5, 3, requires_grad=True)
    assert not copy(batch).requires_grad
    assert not any(parameter.requires_grad for parameter in copy.parameters())


def test_statistics_are_those_of_its_own_passes() -> None:
    row = modules()
    copy = SlowCopy(*row)
    copy(torch.randn(5, 3))
    norms = [module for module in (*copy.modules(), *row[1].modules()) if isinstance(module, nn.BatchNorm1d)]
    copy.follow(*row, momentum=0.0)
    assert [int(norm.get_buffer("num_batches_tracked")) for norm in norms] == [1, 0]


def test_a_copy_that_restarts_is_the_modules() -> None:
    row = modules()
    copy = SlowCopy(*row)
    shifted(row)
    row[1](torch.randn(5, 4))
    copy.restart(*row)
    theirs = nn.Sequential(*row).state_dict()
    assert all(torch.equal(value, theirs[name.removeprefix("row.")]) for name, value in copy.state_dict().items())
