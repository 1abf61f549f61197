"""FedBYOL: what it compares, how the target moves, what stays, and what a stage takes over."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from fedward_core.cards import Contract
from fedward_core.errors import DataError
from fedward_core.partition import Partition
from fedward_core.registry import resolve
from fedward_models.backbones.vit.config import ViTConfig
from fedward_models.batch import Batch
from fedward_models.building import manifest_of
from fedward_models.methods.fedbyol.config import FedBYOLConfig
from fedward_models.methods.fedbyol.fedbyol import FedBYOL
from fedward_models.methods.mae.config import MAEConfig
from fedward_models.methods.supervised.config import SupervisedConfig
from fedward_models.step import Clock

CONTRACT = Contract(classes=("a", "b"))


def method_of(seed: int = 0, **settings: Any) -> FedBYOL:
    torch.manual_seed(seed)
    backbone = resolve("backbones", "small_cnn")(name="small_cnn", widths=(4,), hidden=(6,)).build(
        image_px=8, channels=1
    )
    method = FedBYOLConfig.default(hidden=8, width=4, **settings).build(backbone=backbone, contract=CONTRACT)
    assert isinstance(method, FedBYOL)
    return method.train()


def batch(size: int = 6) -> Batch:
    return Batch(images=torch.rand(size, 1, 8, 8, generator=torch.Generator().manual_seed(1)))


def prepared(method: FedBYOL, seed: int = 0) -> Batch:
    return method.prepare(batch(), torch.Generator().manual_seed(seed))


def compared(method: FedBYOL, seen: Tensor, predicted: Tensor) -> Tensor:
    """One direction, number by number."""
    online = method.predictor(method.projector(method.backbone(predicted)))
    target = method.target.get_submodule("projector")(method.target.get_submodule("backbone")(seen))
    return ((functional.normalize(online) - functional.normalize(target)) ** 2).sum(dim=1)


def test_each_view_predicts_the_targets_features_of_the_other() -> None:
    method = method_of().eval()
    drawn = prepared(method).drawn
    expected = compared(method, drawn["second"], drawn["first"]) + compared(method, drawn["first"], drawn["second"])
    torch.testing.assert_close(method.evaluation_loss(prepared(method)), expected)


def test_the_two_views_differ_and_follow_the_seed() -> None:
    method = method_of()
    one, same, other = prepared(method, 0).drawn, prepared(method, 0).drawn, prepared(method, 1).drawn
    assert torch.equal(one["first"], same["first"])
    assert not torch.equal(one["first"], one["second"])
    assert not torch.equal(one["first"], other["first"])


def test_gradients_reach_the_online_network_only() -> None:
    method = method_of()
    torch.autograd.backward(method.training_step(prepared(method), Clock()).loss)
    assert all(p.grad is None for p in method.target.parameters())
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in method.predictor.parameters() if p.ndim > 1)


def test_the_momentum_rises_from_its_setting_to_one_as_half_a_cosine() -> None:
    method = method_of(momentum=0.9)
    values = [method.momentum_at(Clock(round=round_, rounds=10)) for round_ in (0, 5, 10)]
    assert values == pytest.approx([0.9, 0.95, 1.0])


@pytest.mark.parametrize(("round_", "nearer"), [(0, 0.25), (5, 0.125)])
def test_after_a_step_the_target_is_nearer_to_the_online_network_by_its_momentum_then(
    round_: int, nearer: float
) -> None:
    method = method_of(momentum=0.75)
    before = [parameter.clone() for parameter in method.target.parameters()]
    with torch.no_grad():
        for parameter in (*method.backbone.parameters(), *method.projector.parameters()):
            parameter.add_(1)
    method.after_step(Clock(round=round_, rounds=10))
    for now, then in zip(method.target.parameters(), before, strict=True):
        torch.testing.assert_close(now, then + nearer)


@pytest.mark.parametrize(("target", "restarts"), [("keep", False), ("rebuild", True)])
def test_a_round_begins_with_the_sites_target_or_with_one_built_anew(target: str, restarts: bool) -> None:
    method = method_of(target=target)
    with torch.no_grad():
        next(method.backbone.parameters()).add_(1)
    for within in (Clock(step=1, steps=2), Clock(epoch=1, epochs=2)):
        method.before_step(within)
    assert not torch.equal(next(method.target.parameters()), next(method.backbone.parameters()))
    method.before_step(Clock())
    assert torch.equal(next(method.target.parameters()), next(method.backbone.parameters())) is restarts


def test_only_the_target_stays_at_its_site() -> None:
    method = method_of()
    partition = Partition(manifest_of(method), method.rules())
    shared = set(partition.shared_manifest.names())
    counters = {name for name in method.state_dict() if name.endswith("num_batches_tracked")}
    assert set(method.state_dict()) - shared - counters == {
        name for name in method.state_dict() if name.startswith("target.") and name not in counters
    }


def test_a_batch_of_one_image_is_refused() -> None:
    method = method_of()
    one = method.prepare(batch(size=1), torch.Generator().manual_seed(0))
    with pytest.raises(DataError, match="two images"):
        method.training_step(one, Clock())


def test_a_second_stage_takes_over_what_travelled_and_the_target_begins_as_its_copy() -> None:
    """The targets stayed at the sites: that of the method which gives the weights was never trained."""
    first, second = method_of(seed=0), method_of(seed=1)
    for parameter in first.target.parameters():
        torch.nn.init.constant_(parameter, 7.0)
    report = second.inherit(first.state_dict(), first)
    state = second.state_dict()
    assert {*report.taken, *report.cloned} == set(state)
    assert all(torch.equal(state[name], first.state_dict()[name]) for name in report.taken)
    assert all(torch.equal(state[name], state[name.removeprefix("target.")]) for name in report.cloned)


def test_from_another_method_it_takes_the_backbone_and_the_target_is_its_copy() -> None:
    method = method_of(seed=0)
    source = SupervisedConfig().build(backbone=method_of(seed=1).backbone, contract=CONTRACT)
    report = method.inherit(source.state_dict(), source)
    state = method.state_dict()
    assert report.taken == tuple(name for name in state if name.startswith("backbone."))
    assert report.cloned == tuple(name for name in state if name.startswith("target.backbone."))
    assert report.dropped == ("head.weight", "head.bias")
    assert all(torch.equal(state[f"target.{n}"], state[n]) for n in report.taken)


def test_after_pre_training_that_reads_tokens_the_norm_of_pooled_features_is_new() -> None:
    form = ViTConfig(width=8, depth=1, heads=2, patch_px=4)
    source = MAEConfig(decoder_width=8, decoder_heads=2, decoder_depth=1).build(
        backbone=form.build(image_px=8, channels=1), contract=CONTRACT
    )
    method = FedBYOLConfig(hidden=8, width=4).build(backbone=form.build(image_px=8, channels=1), contract=CONTRACT)
    report = method.inherit(source.state_dict(), source)
    assert {name for name in report.new if "backbone" in name} == {
        f"{part}backbone.fc_norm.{entry}" for part in ("", "target.") for entry in ("weight", "bias")
    }
    state = method.state_dict()
    assert all(torch.equal(state[name], source.state_dict()[name]) for name in report.taken)
    assert all(torch.equal(state[f"target.{name}"], state[name]) for name in state if name.startswith("backbone."))


def test_a_classifier_takes_its_backbone_over() -> None:
    source = method_of()
    classifier = SupervisedConfig().build(backbone=method_of(seed=1).backbone, contract=CONTRACT)
    report = classifier.inherit(source.state_dict(), source)
    assert set(report.new) == {"head.weight", "head.bias"}
    assert all(torch.equal(classifier.state_dict()[name], source.state_dict()[name]) for name in report.taken)
