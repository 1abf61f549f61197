"""Taps read what flows between blocks, and are gone afterwards."""

import torch
from torch import nn

from fedward_models.layers.taps import tapped


def test_taps_hold_the_outputs_of_their_blocks_and_leave_none_behind() -> None:
    blocks = nn.ModuleList(nn.Linear(3, 3) for _ in range(3))
    tokens = torch.randn(2, 3)
    with tapped(blocks, (0, 2, 2)) as outputs:
        first = blocks[0](tokens)
        last = blocks[2](blocks[1](first))
    assert set(outputs) == {0, 2}
    assert torch.equal(outputs[0], first)
    assert torch.equal(outputs[2], last)
    outputs.clear()
    blocks[0](tokens)
    assert not outputs
