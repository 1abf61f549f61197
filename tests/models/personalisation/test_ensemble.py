"""What personal models predict together."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from fedward_core.cards import Contract
from fedward_models.backbones.small_cnn.config import SmallCNNConfig
from fedward_models.batch import Batch
from fedward_models.building import seeded
from fedward_models.method import Method
from fedward_models.methods.evp.config import EVPConfig
from fedward_models.personalisation.ensemble import Ensemble, Member

Federate = Callable[..., Any]


def images(count: int = 7) -> Tensor:
    return torch.randint(256, (count, 1, 8, 8), generator=torch.Generator().manual_seed(5)).to(torch.uint8)


def standardised(pixels: Tensor, member: Member) -> Tensor:
    return (pixels.float() / 255 - member.mean) / member.std


@pytest.fixture
def methods(federate: Federate) -> list[Method]:
    federation = federate({"name": "channel_decoupling", "ramp_rounds": 0}).run(2)
    return [federation.evaluated(site) for site in federation.sites]


@pytest.mark.parametrize("mean", ["arithmetic", "geometric"])
def test_identical_models_predict_what_one_of_them_does(methods: list[Method], mean: Any) -> None:
    member = Member.of(methods[0], mean=0.4, std=0.2)
    together = Ensemble(methods[1], [member] * 4, mean=mean).predict(images())
    with torch.no_grad():
        torch.testing.assert_close(together, methods[0].predict(standardised(images(), member)))


def test_the_arithmetic_mean_is_that_of_the_probabilities_model_by_model(methods: list[Method]) -> None:
    members = [Member.of(method, mean=0.1 * place, std=0.3) for place, method in enumerate(methods)]
    with torch.no_grad():
        votes = [m.predict(standardised(images(), member)) for m, member in zip(methods, members, strict=True)]
    expected = torch.stack(votes).mean(dim=0)
    assert (votes[0] - votes[1]).abs().max() > 1e-3
    torch.testing.assert_close(Ensemble(methods[0], members).predict(images()), expected)


def test_the_geometric_mean_is_that_of_their_logarithms_scaled_to_sum_to_one(methods: list[Method]) -> None:
    members = [Member.of(method, mean=0.4, std=0.3) for method in methods]
    with torch.no_grad():
        votes = [m.predict(standardised(images(), member)) for m, member in zip(methods, members, strict=True)]
    product = torch.stack(votes).prod(dim=0) ** (1 / len(votes))
    expected = product / product.sum(dim=1, keepdim=True)
    torch.testing.assert_close(Ensemble(methods[0], members, mean="geometric").predict(images()), expected)


def test_a_model_that_standardises_pixels_itself_knows_how_its_site_did() -> None:
    """A prompt is added to pixels, so images that were standardised have to be turned back into them."""
    contract = Contract(classes=("a", "b", "c"))
    with seeded(0):
        backbone = SmallCNNConfig(widths=(4,), hidden=()).build(image_px=8, channels=1)
        method = EVPConfig(weights="as_built", initial="normal").build(backbone=backbone, contract=contract)
    member = Member.of(method, mean=0.4, std=0.2)
    site = Batch(images=standardised(images(), member), mean=member.mean, std=member.std)
    with torch.no_grad():
        torch.testing.assert_close(Ensemble(method, [member]).predict(images()), method.predict_batch(site))


def test_models_that_are_wholly_sure_of_different_classes_have_a_geometric_mean(methods: list[Method]) -> None:
    """Sites of two classes each are: every class then has a vote of exactly 0, and a product of nothing but zeros."""
    members = [Member.of(method, mean=0.4, std=0.3) for method in methods]
    for place, member in enumerate(members):
        member.state["head.weight"].zero_()
        member.state["head.bias"].copy_(torch.nn.functional.one_hot(torch.tensor(place), 3) * 1e4)
    together = Ensemble(methods[0], members, mean="geometric").predict(images())
    torch.testing.assert_close(together, torch.full_like(together, 1 / 3))


def test_members_are_copies_and_the_form_keeps_its_own_weights(methods: list[Method]) -> None:
    member = Member.of(methods[0], mean=0.4, std=0.3)
    before = Ensemble(methods[0], [member]).predict(images())
    with torch.no_grad():
        for parameter in methods[0].parameters():
            parameter.zero_()
    assert torch.equal(Ensemble(methods[0], [member]).predict(images()), before)
    assert all(not parameter.any() for parameter in methods[0].parameters())


def test_under_plain_averaging_new_images_are_predicted_as_local_ones(federate: Federate) -> None:
    """One model at every site: over the union of the local test images, Local weighted by size equals New."""
    federation = federate().run(2)
    sites = list(federation.sites)
    members = [Member.of(federation.evaluated(site), mean=0.5, std=0.25) for site in sites]
    parts = {site: images(20)[5 * place : 5 * (place + 2)] for place, site in enumerate(sites[:2])}
    labels = torch.arange(10) % 3
    together = Ensemble(federation.method, members)
    local, total = 0, 0
    for site, part in parts.items():
        own = Ensemble(federation.method, [members[sites.index(site)]]).predict(part).argmax(dim=1)
        local, total = local + int((own == labels[: len(part)]).sum()), total + len(part)
    union = torch.cat(list(parts.values()))
    new = int((together.predict(union).argmax(dim=1) == torch.cat([labels[: len(p)] for p in parts.values()])).sum())
    assert (local, total) == (new, len(union))
