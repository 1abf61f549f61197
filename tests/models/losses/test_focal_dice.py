"""Focal loss and soft Dice, each with its slow twin."""

from math import exp, log

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from fedward_models.losses.focal_dice import focal_loss, joined, soft_dice

SIZES = [(1, 2, 1, 1), (2, 2, 3, 5), (3, 4, 5, 3)]


def drawn(batch: int, classes: int, height: int, width: int) -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(batch)
    logits = torch.randn(batch, classes, height, width, generator=rng)
    return logits, torch.randint(classes, (batch, height, width), generator=rng)


def chances(logits: list[float]) -> list[float]:
    total = sum(exp(logit) for logit in logits)
    return [exp(logit) / total for logit in logits]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_focal_loss_is_that_of_every_pixel(size: tuple[int, int, int, int], gamma: float) -> None:
    logits, labels = drawn(*size)
    _, _, height, width = size
    for image, truth, found in zip(logits, labels, focal_loss(logits, labels, gamma=gamma), strict=True):
        right = [chances(image[:, y, x].tolist())[truth[y, x]] for y in range(height) for x in range(width)]
        expected = sum(-((1 - p) ** gamma) * log(p) for p in right) / len(right)
        assert float(found) == pytest.approx(expected, rel=1e-5)


def test_the_overlap_of_volumes_is_that_of_their_slices_side_by_side() -> None:
    rng = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(2, 3, 4, 5, 6, generator=rng), torch.randint(3, (2, 4, 5, 6), generator=rng)
    flat = soft_dice(logits.flatten(2, 3), labels.flatten(1, 2))
    torch.testing.assert_close(soft_dice(logits, labels), flat)


@pytest.mark.parametrize("gamma", [0.0, 0.3, 0.5, 1.0, 2.0])
def test_a_pixel_that_is_surely_right_has_no_slope(gamma: float) -> None:
    logits = torch.tensor([60.0, 200.0, 0.0]).reshape(3, 1, 1, 1).repeat(1, 2, 1, 1)
    logits[:, 1] = 0
    labels = torch.zeros(3, 1, 1, dtype=torch.long)
    (slopes,) = torch.autograd.grad(focal_loss(logits.requires_grad_(), labels, gamma=gamma).sum(), logits)
    assert slopes[:2].abs().max() < 1e-20
    assert slopes[2].abs().min() > 0


@given(logit=st.floats(-100, 100), gamma=st.floats(1.5, 5))
def test_a_power_above_1_keeps_its_bits(logit: float, gamma: float) -> None:
    """Beside the formula without a floor."""

    def unguarded(logits: Tensor, labels: Tensor) -> Tensor:
        losses = functional.cross_entropy(logits, labels, reduction="none")
        return ((1 - (-losses).exp()) ** gamma * losses).mean(dim=(1, 2))

    logits = torch.tensor([logit, 0.0]).reshape(1, 2, 1, 1).requires_grad_()
    labels = torch.zeros(1, 1, 1, dtype=torch.long)
    ours, theirs = focal_loss(logits, labels, gamma=gamma), unguarded(logits, labels)
    assert torch.equal(ours, theirs)
    assert torch.equal(*(torch.autograd.grad(loss, logits)[0] for loss in (ours, theirs)))


def test_without_a_power_it_is_the_binary_cross_entropy_of_one_logit() -> None:
    logits, labels = drawn(2, 2, 4, 4)
    single = logits[:, 1] - logits[:, 0]
    expected = functional.binary_cross_entropy_with_logits(single, labels.float(), reduction="none").mean(dim=(1, 2))
    torch.testing.assert_close(focal_loss(logits, labels, gamma=0.0), expected)


@pytest.mark.parametrize("size", SIZES)
def test_soft_dice_is_overlap_over_sizes(size: tuple[int, int, int, int]) -> None:
    logits, labels = drawn(*size)
    _, classes, height, width = size
    for image, truth, found in zip(logits, labels, soft_dice(logits, labels, smooth=1.0), strict=True):
        dice = []
        for number in range(1, classes):
            ours = [chances(image[:, y, x].tolist())[number] for y in range(height) for x in range(width)]
            theirs = [float(value == number) for value in truth.flatten().tolist()]
            overlap = sum(a * b for a, b in zip(ours, theirs, strict=True))
            dice.append((2 * overlap + 1) / (sum(ours) + sum(theirs) + 1))
        assert float(found) == pytest.approx(sum(dice) / len(dice), rel=1e-5)


def test_nothing_beside_nothing_and_all_beside_all_have_a_dice_of_1() -> None:
    empty, full = torch.zeros(1, 4, 4, dtype=torch.long), torch.ones(1, 4, 4, dtype=torch.long)
    sure = 50 * functional.one_hot(torch.cat([empty, full]), 2).movedim(-1, 1).float()
    torch.testing.assert_close(soft_dice(sure, torch.cat([empty, full])), torch.ones(2))


@given(batch=st.integers(1, 4), height=st.integers(1, 5), width=st.integers(1, 5))
def test_joined_images_have_the_pixels_of_all(batch: int, height: int, width: int) -> None:
    values = torch.arange(batch * 2 * height * width).reshape(batch, 2, height, width)
    found = joined(values)
    assert found.shape == (1, 2, height, batch * width)
    assert torch.equal(found[0, 1].sort(dim=1).values.sum(), values[:, 1].sum())
    assert torch.equal(joined(values)[0, 0], joined(values[:, 0])[0])
