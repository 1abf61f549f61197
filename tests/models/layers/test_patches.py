"""Cutting images into patches, and back."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from fedward_core.errors import SpecError
from fedward_models.layers.patches import PatchEmbedding, patchify, unpatchify


def patchify_slowly(images: Tensor, patch_px: int) -> Tensor:
    """One value at a time: patches row by row, and in each the row, the column, the channel."""
    _, channels, height, width = images.shape
    patches = [
        [image[c, top + p, left + q] for p in range(patch_px) for q in range(patch_px) for c in range(channels)]
        for image in images
        for top in range(0, height, patch_px)
        for left in range(0, width, patch_px)
    ]
    return torch.tensor(patches).reshape(len(images), -1, patch_px**2 * channels)


@given(batch=st.integers(1, 3), channels=st.integers(1, 4), patch_px=st.integers(1, 5), side=st.integers(1, 4))
def test_unpatchify_inverts_patchify_bit_for_bit(batch: int, channels: int, patch_px: int, side: int) -> None:
    images = torch.rand(batch, channels, side * patch_px, side * patch_px)
    back = unpatchify(patchify(images, patch_px=patch_px), patch_px=patch_px, image_px=side * patch_px)
    assert torch.equal(back, images)


@pytest.mark.parametrize("shape", [(1, 1, 3, 3), (2, 3, 6, 9)])
def test_patchify_has_the_channel_fastest(shape: tuple[int, ...]) -> None:
    images = torch.rand(shape)
    assert torch.equal(patchify(images, patch_px=3), patchify_slowly(images, 3))


def test_an_embedding_is_one_linear_map_of_each_patch() -> None:
    embedding = PatchEmbedding(image_px=12, patch_px=4, channels=2, width=5).requires_grad_(False)
    images = torch.randn(3, 2, 12, 12)
    matrix = embedding.proj.weight.permute(0, 2, 3, 1).flatten(1)
    expected = patchify(images, patch_px=4) @ matrix.T + embedding.get_parameter("proj.bias")
    torch.testing.assert_close(embedding(images), expected)
    assert (embedding.side, embedding.num_patches) == (3, 9)


def test_a_patch_that_does_not_divide_the_image_is_refused() -> None:
    with pytest.raises(SpecError, match="images of 28 pixels do not divide into patches of 16"):
        PatchEmbedding(image_px=28, patch_px=16, channels=1, width=4)
