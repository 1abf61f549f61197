"""The decoder of masked autoencoders."""

import torch

from fedward_models.layers.masking import Mask
from fedward_models.layers.patch_decoder import PatchDecoder


def decoder() -> PatchDecoder:
    return PatchDecoder(encoder_width=6, width=8, depth=1, heads=2, side=3, num_values=5)


def test_every_patch_is_predicted() -> None:
    mask = Mask.of(torch.rand(2, 9), num_visible=4)
    assert decoder()(torch.randn(2, 5, 6), mask).shape == (2, 9, 5)


def test_the_order_of_visible_tokens_does_not_matter() -> None:
    """Each token goes to its own place, so two masks that hide the same patches predict the same."""
    noise = torch.rand(1, 9)
    mask = Mask.of(noise, num_visible=4)
    other = noise.clone().scatter(1, mask.visible, noise.gather(1, mask.visible).flip(1))
    swapped = Mask.of(other, num_visible=4)
    tokens, network = torch.randn(1, 9, 6), decoder()
    first = torch.randn(1, 1, 6)
    predicted = [network(torch.cat([first, m.keep(tokens)], dim=1), m) for m in (mask, swapped)]
    assert not torch.equal(mask.visible, swapped.visible)
    torch.testing.assert_close(*predicted)


def test_the_table_of_positions_is_no_part_of_the_state() -> None:
    assert not [name for name in decoder().state_dict() if "positions" in name]
