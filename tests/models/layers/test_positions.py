"""The table of positions."""

from math import cos, sin

import pytest
import torch
from timm.layers.pos_embed import resample_abs_pos_embed

from fedward_models.layers.positions import resized_positions, sine_positions


@pytest.mark.parametrize(("width", "side"), [(4, 1), (8, 3), (24, 5)])
def test_the_first_half_of_the_width_tells_the_column(width: int, side: int) -> None:
    table = sine_positions(width=width, side=side)
    quarter = width // 4
    for row in range(side):
        for column in range(side):
            expected: list[float] = []
            for index in (column, row):
                angles = [index / 10000 ** (i / quarter) for i in range(quarter)]
                expected += [sin(angle) for angle in angles] + [cos(angle) for angle in angles]
            torch.testing.assert_close(table[0, 1 + row * side + column], torch.tensor(expected))


def test_the_class_token_has_no_position() -> None:
    assert sine_positions(width=8, side=2)[0, 0].count_nonzero() == 0


def test_no_two_places_are_alike() -> None:
    table = sine_positions(width=16, side=14)[0]
    assert len(torch.unique(table, dim=0)) == 1 + 14 * 14


def test_a_table_of_the_right_size_stays_itself_and_others_are_stretched_between_the_same_ends() -> None:
    table = sine_positions(width=16, side=6)
    assert resized_positions(table, side=6) is table
    small = resized_positions(table, side=3)
    assert small.shape == (1, 10, 16)
    assert torch.equal(small[:, 0], table[:, 0])


def test_a_table_is_stretched_as_timm_stretches_it() -> None:
    table = torch.randn(1, 1 + 36, 8, generator=torch.Generator().manual_seed(0))
    for side in (3, 4, 9):
        expected = resample_abs_pos_embed(table, [side, side], antialias=False)
        torch.testing.assert_close(resized_positions(table, side=side), expected)


def test_a_table_that_rises_evenly_still_does_after_stretching() -> None:
    """Away from the border, where bicubic interpolation repeats the last value."""
    rows = torch.arange(8.0)[:, None].expand(8, 8).reshape(1, 64, 1)
    stretched = resized_positions(torch.cat([torch.zeros(1, 1, 1), rows], dim=1), side=4)[0, 1:].reshape(4, 4)
    torch.testing.assert_close(stretched[1:3], torch.tensor([[2.5], [4.5]]).expand(2, 4))
