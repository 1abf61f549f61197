"""Hiding patches: exact counts, and places that come back."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fedward_models.layers.masking import Mask, num_visible

# SSL-FL, Sec. 2.4: visible and hidden of the 196 patches of a 224-pixel image.
PUBLISHED = {0.3: (137, 59), 0.4: (117, 79), 0.5: (98, 98), 0.6: (78, 118), 0.7: (58, 138), 0.75: (49, 147)}


@pytest.mark.parametrize("ratio", PUBLISHED)
def test_counts_are_the_published_ones(ratio: float) -> None:
    visible, hidden = PUBLISHED[ratio]
    mask = Mask.of(torch.rand(3, 196), num_visible=num_visible(196, mask_ratio=ratio))
    assert mask.visible.shape == (3, visible)
    assert mask.hidden.sum(dim=1).tolist() == [hidden] * 3


@given(tenths=st.integers(1, 9), hundreds=st.integers(1, 50))
def test_counts_are_exact_where_floating_point_is_not(tenths: int, hundreds: int) -> None:
    assert num_visible(100 * hundreds, mask_ratio=tenths / 10) == hundreds * (100 - 10 * tenths)


@given(batch=st.integers(1, 4), patches=st.integers(1, 20), seed=st.integers(0, 99), data=st.data())
def test_restore_is_a_permutation_that_inverts_the_shuffle(
    batch: int, patches: int, seed: int, data: st.DataObject
) -> None:
    visible = data.draw(st.integers(0, patches))
    mask = Mask.of(torch.rand(batch, patches, generator=torch.Generator().manual_seed(seed)), num_visible=visible)
    assert torch.equal(mask.restore.sort(dim=1).values, torch.arange(patches).expand(batch, -1))
    tokens = torch.rand(batch, patches, 3) + 1
    filled = mask.fill(mask.keep(tokens), torch.zeros(1, 1, 3))
    assert torch.equal(filled, tokens.masked_fill(mask.hidden.unsqueeze(-1), 0))


def test_the_smallest_numbers_stay_visible_in_their_order() -> None:
    mask = Mask.of(torch.tensor([[0.7, 0.1, 0.9, 0.4]]), num_visible=2)
    assert mask.visible.tolist() == [[1, 3]]
    assert mask.hidden.tolist() == [[True, False, True, False]]
    assert mask.restore.tolist() == [[2, 0, 3, 1]]
