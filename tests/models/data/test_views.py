"""Random views: what every draw keeps, and each change against a slow, obvious one."""

import colorsys
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from fedward_models.batch import Batch
from fedward_models.data.batches.view_settings import ViewSettings
from fedward_models.data.batches.views import draw_view

OFF: dict[str, Any] = {
    "crop_scale": (1.0, 1.0),
    "crop_ratio": (1.0, 1.0),
    **dict.fromkeys(("flip", "jitter", "grey", "blur", "solarise"), 0.0),
}
MEAN, STD = 0.4, 0.2


def batch_of(pixels: Tensor) -> Batch:
    return Batch(images=(pixels - MEAN) / STD, mean=MEAN, std=STD)


def noise(size: int = 5, channels: int = 3, px: int = 12, seed: int = 0) -> Tensor:
    return torch.rand(size, channels, px, px, generator=torch.Generator().manual_seed(seed))


def view_of(pixels: Tensor, seed: int = 0, **settings: Any) -> Tensor:
    """The pixels of a view, in [0, 1]."""
    view = draw_view(batch_of(pixels), ViewSettings(**{**OFF, **settings}), torch.Generator().manual_seed(seed))
    return view * STD + MEAN


def test_with_everything_off_a_view_is_the_image() -> None:
    torch.testing.assert_close(view_of(noise()), noise())


@given(seed=st.integers(0, 500), channels=st.sampled_from([1, 3]), px=st.integers(8, 17))
def test_a_view_has_the_shape_of_its_image_and_stays_between_black_and_white(seed: int, channels: int, px: int) -> None:
    pixels = noise(3, channels, px, seed)
    view = draw_view(batch_of(pixels), ViewSettings(solarise=0.5), torch.Generator().manual_seed(seed))
    assert view.shape == pixels.shape
    levels = view * STD + MEAN
    assert levels.min() > -1e-5
    assert levels.max() < 1 + 1e-5


def test_the_same_seed_gives_the_same_view_and_another_gives_another() -> None:
    settings = {"crop_scale": (0.2, 1.0), "flip": 0.5, "jitter": 0.8, "blur": 0.5}
    assert view_of(noise(), 3, **settings).equal(view_of(noise(), 3, **settings))
    assert not view_of(noise(), 3, **settings).equal(view_of(noise(), 4, **settings))


def test_a_batch_is_left_as_it_was() -> None:
    batch = batch_of(noise())
    before = batch.images.clone()
    draw_view(batch, ViewSettings(), torch.Generator().manual_seed(0))
    assert batch.images.equal(before)


def test_a_certain_flip_mirrors_left_to_right() -> None:
    torch.testing.assert_close(view_of(noise(), flip=1.0), noise().flip(3))


def test_half_of_the_images_are_flipped() -> None:
    pixels = noise(400, 1, 8)
    flipped = (view_of(pixels, flip=0.5) - pixels).abs().amax(dim=(1, 2, 3)) > 1e-4
    assert 160 < int(flipped.sum()) < 240


def test_a_crop_shows_a_box_of_the_asked_area_and_no_more() -> None:
    """On a ramp, the range of values that a view shows is the side of its box."""
    px = 200
    ramp = (torch.arange(px) + 0.5) / px
    pixels = torch.stack([ramp.expand(px, px), ramp[:, None].expand(px, px)]).expand(20, 2, px, px)
    for channel in range(2):
        view = view_of(pixels[:, channel : channel + 1], crop_scale=(0.25, 0.25), crop_ratio=(1.0, 1.0))
        sides = (view.amax(dim=(1, 2, 3)) - view.amin(dim=(1, 2, 3))) / (1 - 1 / px)
        torch.testing.assert_close(sides, torch.full((20,), 0.5), atol=0.01, rtol=0)


def test_crops_lie_all_over_the_image() -> None:
    px = 64
    ramp = ((torch.arange(px) + 0.5) / px).expand(300, 1, px, px)
    middles = view_of(ramp, crop_scale=(0.25, 0.25), crop_ratio=(1.0, 1.0)).mean(dim=(1, 2, 3))
    assert middles.min() < 0.28
    assert middles.max() > 0.72
    assert abs(float(middles.mean()) - 0.5) < 0.03


@pytest.mark.parametrize("channels", [1, 3])
def test_brightness_scales_each_image_by_its_own_factor(channels: int) -> None:
    pixels = noise(6, channels) * 0.6 + 0.05
    view = view_of(pixels, jitter=1.0, brightness=0.4, contrast=0.0, saturation=0.0, hue=0.0)
    factors = (view / pixels).flatten(1)
    torch.testing.assert_close(
        factors, factors[:, :1].expand_as(factors), rtol=1e-2, atol=0
    )  # dark pixels are few bits
    assert len(set(factors[:, 0].tolist())) == 6
    assert factors.min() > 0.6 - 1e-4
    assert factors.max() < 1.4 + 1e-4


def test_contrast_keeps_the_mean_brightness() -> None:
    pixels = noise(6) * 0.2 + 0.4
    view = view_of(pixels, jitter=1.0, brightness=0.0, contrast=0.4, saturation=0.0, hue=0.0)
    torch.testing.assert_close(luma(view).mean(dim=(1, 2)), luma(pixels).mean(dim=(1, 2)))
    assert not torch.allclose(view, pixels)


def test_saturation_keeps_the_brightness_of_every_pixel() -> None:
    pixels = noise(6) * 0.2 + 0.4
    view = view_of(pixels, jitter=1.0, brightness=0.0, contrast=0.0, saturation=0.4, hue=0.0)
    torch.testing.assert_close(luma(view), luma(pixels))
    assert not torch.allclose(view, pixels)


def test_hue_turns_colours_as_the_colour_circle_does() -> None:
    """For saturated colours of one lightness, as the hue of HSV turns."""
    pixels = torch.tensor([0.6, 0.4, 0.4]).view(1, 3, 1, 1).expand(40, 3, 8, 8)
    view = view_of(pixels, jitter=1.0, brightness=0.0, contrast=0.0, saturation=0.0, hue=0.1)
    torch.testing.assert_close(view.mean(dim=1), pixels.mean(dim=1))
    turns = [((colorsys.rgb_to_hsv(*image[:, 0, 0].tolist())[0] + 0.5) % 1) - 0.5 for image in view]
    assert -0.12 < min(turns) < -0.06
    assert 0.06 < max(turns) < 0.12


def test_grey_makes_the_channels_equal_to_the_brightness() -> None:
    view = view_of(noise(), grey=1.0)
    torch.testing.assert_close(view, luma(noise())[:, None].expand_as(view))


def test_blur_is_a_gaussian_of_the_asked_width() -> None:
    pixels = torch.zeros(1, 1, 41, 41)
    pixels[..., 20, 20] = 1
    view = view_of(pixels, blur=1.0, blur_px=(1.5, 1.5))[0, 0]
    distance = torch.arange(41) - 20.0
    expected = torch.exp(-(distance[:, None] ** 2 + distance**2) / (2 * 1.5**2))
    torch.testing.assert_close(view, expected / expected.sum(), atol=1e-3, rtol=0)


def test_solarise_inverts_what_is_bright() -> None:
    pixels = noise()
    torch.testing.assert_close(view_of(pixels, solarise=1.0), torch.where(pixels >= 0.5, 1 - pixels, pixels))


@pytest.mark.parametrize(
    "values", [{"crop_scale": (0.0, 1.0)}, {"crop_scale": (0.2, 1.2)}, {"crop_ratio": (2.0, 1.0)}, {"blur_px": (0, 1)}]
)
def test_ranges_that_make_no_sense_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(values))} is .* expected positive numbers that rise"):
        ViewSettings(**values)


def luma(pixels: Tensor) -> Tensor:
    return 0.299 * pixels[:, 0] + 0.587 * pixels[:, 1] + 0.114 * pixels[:, 2]


@pytest.mark.parametrize("size", [6, 20])
def test_a_view_of_another_size_is_the_same_view(size: int) -> None:
    """A plain ramp, seen small or large, rises from the same left to the same right."""
    ramp = torch.linspace(0, 1, 12).expand(2, 1, 12, 12).contiguous()
    settings = ViewSettings(**{**OFF, "crop_scale": (0.3, 0.5)})
    whole, other = (
        draw_view(batch_of(ramp), settings, torch.Generator().manual_seed(0), size_px=px) for px in (None, size)
    )
    assert other.shape == (2, 1, size, size)
    torch.testing.assert_close(other.mean(dim=(2, 3)), whole.mean(dim=(2, 3)), atol=1e-3, rtol=0)
