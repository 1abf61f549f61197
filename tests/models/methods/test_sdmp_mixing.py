"""Mixing in pairs: boxes, weights, and what is pasted where."""

from math import floor, sqrt
from typing import Any
from unittest.mock import patch

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from timm.data.mixup import Mixup
from torch import Tensor
from torch.nn import functional

from fedward_models.methods.sdmp.mixing import Operation, draw_boxes, draw_shares, mix, shares_outside


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(batch: int, height: int = 12, width: int = 12) -> Tensor:
    return torch.randn(batch, 3, height, width, generator=rng(9))


@given(batch=st.integers(1, 9))
def test_partners_are_partners_of_each_other(batch: int) -> None:
    """Check 1, first part: a share of nothing shows the partner, whose partner is the image itself again.

    An even batch has no image that is its own partner, and an odd one has one.
    """
    images, boxes = pictures(batch, 2, 2), torch.zeros(batch, 4, dtype=torch.long)
    partners = mix(images, "mixup", shares=torch.zeros(batch), boxes=boxes)
    assert torch.equal(mix(partners, "mixup", shares=torch.zeros(batch), boxes=boxes), images)
    assert int((partners == images).flatten(1).all(dim=1).sum()) == batch % 2


@pytest.mark.parametrize("operation", ["mixup", "cutmix"])
def test_mixup_and_cutmix_are_those_of_timm(operation: Operation) -> None:
    """Check 1, second part: timm's elementwise mode, given the same weights and boxes."""
    images, shares = pictures(6), draw_shares(6, rng())
    boxes = draw_boxes(shares, rng(1), height=12, width=12)
    theirs = images.clone()
    mixer: Any = Mixup(mixup_alpha=1, cutmix_alpha=1, mode="elem", num_classes=3)  # type: ignore[no-untyped-call]
    given_to_timm = iter([(tuple(box), float(share)) for box, share in zip(boxes.tolist(), shares, strict=True)])
    drawn = (shares.numpy(), torch.full((6,), operation == "cutmix").numpy())
    with (
        patch.object(mixer, "_params_per_elem", lambda _: drawn),
        patch("timm.data.mixup.cutmix_bbox_and_lam", lambda *_, **__: next(given_to_timm)),
    ):
        mixer._mix_elem(theirs)
    torch.testing.assert_close(mix(images, operation, shares=shares, boxes=boxes), theirs)


def test_resizemix_shows_the_whole_partner_in_the_box_and_the_image_around_it() -> None:
    """Check 2, first part."""
    images, shares = pictures(6, 13, 11), draw_shares(6, rng())
    boxes = draw_boxes(shares, rng(1), height=13, width=11)
    mixed = mix(images, "resizemix", shares=shares, boxes=boxes)
    for i, (top, bottom, left, right) in enumerate(boxes.tolist()):
        size = (bottom - top, right - left)
        partner = functional.interpolate(images[[5 - i]], size=size, mode="bilinear", align_corners=False)[0]
        torch.testing.assert_close(mixed[i, :, top:bottom, left:right], partner)
        outside = torch.ones(13, 11, dtype=torch.bool)
        outside[top:bottom, left:right] = False
        assert torch.equal(mixed[i][:, outside], images[i][:, outside])


@pytest.mark.parametrize(("height", "width"), [(224, 224), (32, 32), (17, 9)])
def test_boxes_lie_inside_and_leave_exactly_their_weight(height: int, width: int) -> None:
    """Check 2, second part, for 10,000 draws."""
    shares = draw_shares(10_000, rng())
    boxes = draw_boxes(shares, rng(1), height=height, width=width)
    top, bottom, left, right = boxes.unbind(dim=1)
    assert bool(((top >= 0) & (top <= bottom) & (bottom <= height)).all())
    assert bool(((left >= 0) & (left <= right) & (right <= width)).all())
    area = ((bottom - top) * (right - left)).double()
    torch.testing.assert_close(shares_outside(boxes, height=height, width=width).double(), 1 - area / (height * width))


def test_boxes_reach_every_border() -> None:
    boxes = draw_boxes(torch.full((2000,), 0.5), rng(), height=8, width=8)
    assert set(boxes[:, 0].tolist()) == set(boxes[:, 2].tolist()) == set(range(8 - floor(8 * sqrt(0.5)) + 1))


def test_weights_are_raised_a_little_by_whole_pixels() -> None:
    """Check 3: by less than 2/H; at 224 pixels all lie in [0.104, 0.903], and sides in 70 to 212."""
    shares = draw_shares(10_000, rng())
    boxes = draw_boxes(shares, rng(1), height=224, width=224)
    own = shares_outside(boxes, height=224, width=224)
    raised = own - shares
    assert float(raised.min()) >= -1e-6
    assert float(raised.max()) < 2 / 224
    assert float(own.min()) >= 0.104
    assert float(own.max()) <= 0.903
    ends = draw_boxes(torch.tensor([0.1, 0.9]), rng(), height=224, width=224)
    assert (ends[:, 1] - ends[:, 0]).tolist() == [212, 70]


def test_both_views_have_one_weight_and_boxes_of_their_own() -> None:
    """Check 3, last part."""
    shares, generator = draw_shares(64, rng()), rng(1)
    first, second = (draw_boxes(shares, generator, height=32, width=32) for _ in range(2))
    assert torch.equal(shares_outside(first, height=32, width=32), shares_outside(second, height=32, width=32))
    assert not torch.equal(first, second)


@pytest.mark.parametrize("operation", ["mixup", "cutmix", "resizemix"])
def test_every_image_is_changed_by_its_partner(operation: Operation) -> None:
    """Check 4, which the released code fails."""
    images, shares = pictures(64, 32, 32), draw_shares(64, rng())
    boxes = draw_boxes(shares, rng(1), height=32, width=32)
    changed = (mix(images, operation, shares=shares, boxes=boxes) != images).flatten(1).any(dim=1)
    assert float(changed.float().mean()) >= 0.99


@pytest.mark.parametrize("operation", ["mixup", "cutmix", "resizemix"])
def test_a_share_of_one_leaves_the_image(operation: Operation) -> None:
    """Check 8, first part."""
    images, shares = pictures(4), torch.ones(4)
    boxes = draw_boxes(shares, rng(), height=12, width=12)
    assert torch.equal(mix(images, operation, shares=shares, boxes=boxes), images)
    assert torch.equal(shares_outside(boxes, height=12, width=12), shares)


def test_reversing_the_batch_reverses_the_mixes() -> None:
    """Check 7, for images."""
    images, shares = pictures(5), draw_shares(5, rng())
    boxes = draw_boxes(shares, rng(1), height=12, width=12)
    there = mix(images, "resizemix", shares=shares, boxes=boxes)
    back = mix(images.flip(0), "resizemix", shares=shares.flip(0), boxes=boxes.flip(0))
    assert torch.equal(there, back.flip(0))
