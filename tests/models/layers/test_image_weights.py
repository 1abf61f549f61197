"""Kernels of images as kernels of clips, and what single frames can train."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from fedward_core.errors import CheckpointError
from fedward_models.layers.image_weights import (
    inflate,
    load_image_weights,
    load_middle_slices,
    middle_slices,
)

FRAMES = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def kernel() -> torch.Tensor:
    return torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("mode", "where"), [("mean", slice(1, -1)), ("center", slice(None))])
def test_a_static_clip_gives_what_its_frame_gave(mode: str, where: slice) -> None:
    clip = FRAMES.unsqueeze(2).expand(-1, -1, 5, -1, -1)
    found = functional.conv3d(clip, inflate(kernel(), 3, mode), padding=1)  # type: ignore[arg-type]
    expected = functional.conv2d(FRAMES, kernel(), padding=1).unsqueeze(2).expand_as(found)
    torch.testing.assert_close(found[:, :, where], expected[:, :, where])
    assert (mode == "center") == torch.allclose(found, expected, atol=1e-5)


def test_released_inflation_has_slices_of_a_ninth_and_a_third() -> None:
    found = inflate(torch.ones(1, 1, 1, 1), 3, "released")
    torch.testing.assert_close(found.flatten(), torch.tensor([1 / 9, 1 / 3, 1 / 9]))
    with pytest.raises(CheckpointError, match="three slices"):
        inflate(kernel(), 5, "released")


def test_grey_clips_load_the_sum_over_colours() -> None:
    network = nn.Conv3d(1, 4, 3, bias=False)
    assert load_image_weights(network, {"weight": kernel()}) == []
    torch.testing.assert_close(network.weight[:, :, 1], kernel().sum(dim=1, keepdim=True))


def test_other_widths_are_refused() -> None:
    with pytest.raises(CheckpointError, match="same widths"):
        load_image_weights(nn.Conv3d(3, 5, 3, bias=False), {"weight": kernel()})


def test_averaging_middle_slices_is_averaging_all_where_others_are_equal() -> None:
    sites = [_site(seed) for seed in range(3)]
    parts = [middle_slices(site) for site in sites]
    assert sum(part.numel() for part in parts[0].values()) < sum(t.numel() for t in sites[0].state_dict().values())
    mean = {name: torch.stack([part[name] for part in parts]).mean(dim=0) for name in parts[0]}
    merged = copy.deepcopy(sites[0])
    load_middle_slices(merged, mean)
    for name, tensor in merged.state_dict().items():
        whole = np.mean([site.state_dict()[name].numpy() for site in sites], axis=0)
        np.testing.assert_allclose(tensor.numpy(), whole, atol=1e-6)


def _site(seed: int) -> nn.Module:
    """A network as it was after a site trained on its own frames."""
    torch.manual_seed(7)
    network = nn.Sequential(nn.Conv3d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv3d(4, 2, (3, 1, 1), padding=(1, 0, 0)))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    frames = torch.randn(4, 3, 1, 8, 8, generator=torch.Generator().manual_seed(seed))
    network(frames).square().mean().backward()
    optimizer.step()
    return network
