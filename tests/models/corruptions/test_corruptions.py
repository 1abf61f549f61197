"""The fifteen corruptions and what is counted under them."""

import pytest
import torch
from torch import Tensor

from fedward_core.errors import SpecError
from fedward_models.corruptions.corrupt import CORRUPTIONS, SEVERITIES, corrupt, corruption_errors
from fedward_models.corruptions.error import ALEXNET, mean_corruption_error, mean_error
from fedward_models.corruptions.geometry import gaussian_blurred, moved

every_corruption = pytest.mark.parametrize("name", CORRUPTIONS)


def images(channels: int = 3, px: int = 32, count: int = 3) -> Tensor:
    """Smooth bright shapes on a dark ground."""
    rng = torch.Generator().manual_seed(4)
    return gaussian_blurred(torch.rand(count, channels, px, px, generator=rng), 2.0).sub(0.4).mul(4).clamp(0, 1)


def corrupted(name: str, severity: int = 3, *, seed: int = 0, channels: int = 3, px: int = 32) -> Tensor:
    return corrupt(images(channels, px), name, severity, torch.Generator().manual_seed(seed))


def test_there_are_the_fifteen_of_the_published_table() -> None:
    assert list(CORRUPTIONS) == list(ALEXNET)


@every_corruption
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("px", [28, 33])
def test_pixels_keep_their_shape_and_range(name: str, channels: int, px: int) -> None:
    found = corrupted(name, channels=channels, px=px)
    assert found.shape == (3, channels, px, px)
    assert float(found.min()) >= 0
    assert float(found.max()) <= 1


@every_corruption
def test_the_same_seed_gives_the_same_images_and_leaves_the_originals(name: str) -> None:
    pixels = images()
    before = pixels.clone()
    first, second = (corrupt(pixels, name, 2, torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(first, second)
    assert torch.equal(pixels, before)
    assert not torch.equal(first, pixels)


@pytest.mark.parametrize("name", [name for name in CORRUPTIONS if name != "elastic_transform"])
def test_the_strongest_severity_changes_more_than_the_weakest(name: str) -> None:
    """Elastic transforms change their kind between severities two and three, and are left out."""
    distances = [float((corrupted(name, severity, px=112) - images(px=112)).abs().mean()) for severity in (1, 5)]
    assert distances[0] < distances[1]


def test_displacements_of_nothing_and_of_whole_pixels_are_exact() -> None:
    pixels = images()
    nothing = torch.zeros(1, 1, 1)
    torch.testing.assert_close(moved(pixels, nothing, nothing), pixels, atol=1e-5, rtol=0)
    right = moved(pixels, nothing, nothing + 2)
    torch.testing.assert_close(right[..., :-2], pixels[..., 2:], atol=1e-5, rtol=0)


@pytest.mark.parametrize(("name", "severity", "message"), [("fogg", 1, "'fog'"), ("fog", 6, "1 to 5")])
def test_unknown_corruptions_and_severities_are_refused(name: str, severity: int, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        corrupt(images(), name, severity, torch.Generator())


def test_jpeg_of_four_channels_is_refused() -> None:
    with pytest.raises(SpecError, match="1 or 3 channels"):
        corrupted("jpeg_compression", channels=4)


def test_a_constant_classifier_errs_on_all_classes_but_one() -> None:
    labels = torch.arange(20) % 5
    found = corruption_errors(
        lambda pixels: torch.eye(5)[torch.zeros(len(pixels), dtype=torch.long)],
        images(1, 8, 20),
        labels,
        names=("fog", "contrast"),
        batch_size=6,
    )
    assert found.n == 20
    assert found.clean == pytest.approx(1 - 1 / 5)
    assert mean_error(found.corrupted) == pytest.approx(1 - 1 / 5)
    assert {len(errors) for errors in found.corrupted.values()} == {len(SEVERITIES)}


def test_leaving_a_corruption_out_changes_no_other() -> None:
    def classify(pixels: Tensor) -> Tensor:
        return torch.stack([pixels.mean(dim=(1, 2, 3)), torch.full((len(pixels),), 0.55)], dim=1)

    pixels, labels = images(count=16), torch.arange(16) % 2
    both = corruption_errors(classify, pixels, labels, names=("shot_noise", "fog"), severities=(4, 5))
    alone = corruption_errors(classify, pixels, labels, names=("fog",), severities=(5,))
    assert alone.corrupted["fog"][0] == both.corrupted["fog"][1]


def test_alexnet_compared_with_itself_is_one_hundred() -> None:
    own = {name: (error,) * 5 for name, error in ALEXNET.items()}
    assert mean_corruption_error(own, ALEXNET) == pytest.approx(100)
    assert mean_error(own) == pytest.approx(sum(ALEXNET.values()) / 15)


def test_a_reference_without_a_corruption_is_refused() -> None:
    with pytest.raises(SpecError, match="haze"):
        mean_corruption_error({"haze": (1.0,)}, ALEXNET)
