"""Random changes of training images."""

import numpy as np
import pytest
import torch
from torch import Tensor

from fedward_models.data.batches import augmentation
from fedward_models.data.batches.augmentation import augment


@pytest.fixture
def steady_contrast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Moves and mirrors only."""
    monkeypatch.setattr(augmentation, "MAX_CONTRAST", 0.0)
    monkeypatch.setattr(augmentation, "MAX_BRIGHTNESS", 0.0)


def images(batch: int = 64, channels: int = 1, px: int = 20) -> Tensor:
    rng = torch.Generator().manual_seed(0)
    return torch.randint(1, 256, (batch, channels, px, px), generator=rng).float()


def moved_slowly(image: Tensor, down: int, right: int, mirrored: bool) -> Tensor:
    """Pad with zeros, crop, mirror: pixel by pixel."""
    height, width = image.shape[-2:]
    result = torch.zeros_like(image)
    for row in range(height):
        for column in range(width):
            source_row, source_column = row + down, (width - 1 - column if mirrored else column) + right
            if 0 <= source_row < height and 0 <= source_column < width:
                result[..., row, column] = image[..., source_row, source_column]
    return result


@pytest.mark.usefixtures("steady_contrast")
def test_every_image_is_a_shifted_crop_or_its_mirror_image() -> None:
    before = images(batch=6, channels=3)
    after, _ = augment(before, None, np.random.default_rng(3))
    for one, other in zip(before, after, strict=True):
        candidates = (
            moved_slowly(one, down, right, mirrored)
            for down in range(-2, 3)
            for right in range(-2, 3)
            for mirrored in (False, True)
        )
        assert any(torch.allclose(candidate, other, atol=1e-3) for candidate in candidates)


@pytest.mark.usefixtures("steady_contrast")
def test_masks_move_along_with_their_images() -> None:
    before = images()
    after, masks = augment(before, before[:, 0].long(), np.random.default_rng(1))
    assert masks is not None
    torch.testing.assert_close(after[:, 0], masks.float(), atol=1e-3, rtol=0)


@pytest.mark.usefixtures("steady_contrast")
def test_masks_of_volumes_move_along_slice_by_slice() -> None:
    before = torch.stack([images(batch=8), images(batch=8).flip(-1)], dim=2)
    after, masks = augment(before, before[:, 0].long(), np.random.default_rng(1))
    assert masks is not None
    assert masks.shape == (8, 2, 20, 20)
    torch.testing.assert_close(after[:, 0], masks.float(), atol=1e-3, rtol=0)


def test_labels_of_whole_images_stay() -> None:
    labels = torch.arange(64)
    _, after = augment(images(), labels, np.random.default_rng(1))
    assert after is labels


@pytest.mark.usefixtures("steady_contrast")
def test_about_half_of_the_images_are_mirrored() -> None:
    before = torch.zeros(400, 1, 20, 20)
    before[..., 3] = 255  # a line on the left
    after, _ = augment(before, None, np.random.default_rng(0))
    mirrored = (after[..., 10:].sum(dim=(1, 2, 3)) > 0).sum().item()
    assert 160 < mirrored < 240


def test_values_stay_in_range_and_change_by_a_tenth_at_most() -> None:
    before = torch.full((200, 1, 20, 20), 240.0)
    after, _ = augment(before, None, np.random.default_rng(0))
    centre = after[:, 0, 10, 10]
    assert after.max() <= 255
    assert (centre - 240).abs().max() <= 0.1 * 255 + 0.1 * 240
    assert centre.std() > 5


def test_the_same_draws_give_the_same_images() -> None:
    once, again = (augment(images(), None, np.random.default_rng(9))[0] for _ in range(2))
    assert once.equal(again)
