"""The residual network: its published size and form, images that are enlarged, and maps of every side."""

import pytest
import torch
from timm import create_model

from fedward_core.errors import SpecError
from fedward_models.backbones.resnet.config import ResNetConfig
from fedward_models.backbones.resnet.resnet import ResNet
from fedward_models.building import seeded

RESNET_50 = {"width": 64, "depths": (3, 4, 6, 3)}
TINY = {"width": 2, "depths": (2, 1, 1, 1)}


def build(image_px: int = 64, **settings: object) -> ResNet:
    with seeded(0):
        network = ResNetConfig.model_validate(TINY | settings).build(image_px=image_px, channels=3)
    assert isinstance(network, ResNet)
    return network.eval()


def test_resnet_50_has_the_published_number_of_parameters() -> None:
    with torch.device("meta"):
        network = build(224, **RESNET_50)
    assert sum(parameter.numel() for parameter in network.parameters()) == 23_508_032


@torch.no_grad()
def test_resnet_50_is_that_of_timm_whose_weights_it_loads() -> None:
    with seeded(1):
        published = create_model("resnet50", pretrained=False, num_classes=0).eval()
    network = build(32, **RESNET_50)
    network.load_state_dict(published.state_dict())
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(network(images), published(images), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_maps_halve_from_the_stem_to_the_last_stage() -> None:
    network = build()
    maps = network.maps(torch.randn(1, 3, 64, 64))
    assert [each.shape[-1] for each in maps] == [32, 16, 8, 4, 2]
    assert tuple(each.shape[1] for each in maps) == network.widths == (2, 8, 16, 32, 64)


@torch.no_grad()
def test_images_of_224_pixels_have_361_places_after_they_were_enlarged() -> None:
    """MGCA: 19 x 19 places of the stage before the last."""
    network = build(224, input_px=299)
    images = torch.randn(1, 3, 224, 224)
    assert network.maps(images)[-2].shape[-2:] == (19, 19)
    enlarged = torch.nn.functional.interpolate(images, size=(299, 299), mode="bilinear", align_corners=True)
    torch.testing.assert_close(network(images), build(299)(enlarged))


@pytest.mark.parametrize(("image_px", "input_px"), [(16, None), (64, 32), (8, 16)])
def test_images_that_are_too_small_or_would_shrink_are_refused(image_px: int, input_px: int | None) -> None:
    with pytest.raises(SpecError, match="resnet"):
        build(image_px, input_px=input_px)
