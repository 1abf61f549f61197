"""The table of positions."""

from math import cos, sin

import pytest
import torch

from fedward_models.layers.positions import sine_positions


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
