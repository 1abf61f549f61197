"""SDMP: the published network, its two branches, its terms on both bases, what stays at a site, and who goes on."""

from math import cos, pi
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor
from torch.nn import functional

from fedward_core.cards import Contract
from fedward_core.errors import CheckpointError, DataError, SpecError
from fedward_core.partition import Partition
from fedward_core.spec import Spec
from fedward_models.backbones.small_cnn.config import SmallCNNConfig
from fedward_models.backbones.timm_network.config import TimmConfig
from fedward_models.backbones.vit.config import ViTConfig
from fedward_models.batch import Batch
from fedward_models.building import manifest_of
from fedward_models.method import Method
from fedward_models.methods.mae.config import MAEConfig
from fedward_models.methods.sdmp.bases import DINO
from fedward_models.methods.sdmp.branches import check_takes
from fedward_models.methods.sdmp.config import SDMPConfig
from fedward_models.methods.sdmp.sdmp import SDMP
from fedward_models.methods.supervised.config import SupervisedConfig
from fedward_models.step import Clock

COLOUR = Contract(classes=("normal", "pneumonia"), channels=3)
MOCO = {"name": "moco", "hidden": 16, "width": 8}
DINO_BASE = {"name": "dino", "hidden": 16, "bottleneck": 8, "prototypes": 12}
bases = pytest.mark.parametrize("base", [MOCO, DINO_BASE], ids=["moco", "dino"])


def network(kind: str = "vit") -> Any:
    config = ViTConfig(width=24, depth=2, heads=3, patch_px=8) if kind == "vit" else SmallCNNConfig(widths=(4, 6))
    return config.build(image_px=32, channels=3)


def build(*, kind: str = "vit", seed: int = 0, **settings: Any) -> SDMP:
    torch.manual_seed(seed)
    method = SDMPConfig(**{"base": MOCO, **settings}).build(backbone=network(kind), contract=COLOUR)
    assert isinstance(method, SDMP)
    return method


def pictures(size: int = 6) -> Tensor:
    return torch.rand(size, 3, 32, 32, generator=torch.Generator().manual_seed(3))


def drawn(method: Method, size: int = 6, seed: int = 0) -> Batch:
    return method.prepare(Batch(images=pictures(size)), torch.Generator().manual_seed(seed))


def step(method: Method, batch: Batch, clock: Clock, *, lr: float = 0.1) -> Tensor:
    """One step as training makes it."""
    method.before_step(clock)
    method.zero_grad()
    loss = method.training_step(batch, clock).loss
    loss.backward()  # type: ignore[no-untyped-call]
    torch.optim.SGD([p for p in method.parameters() if p.requires_grad], lr=lr).step()
    method.after_step(clock)
    return loss.detach()


def num_parameters(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    ("width", "heads", "backbone", "projector"), [(384, 12, 21_665_664, 19_415_040), (768, 12, 85_798_656, 20_987_904)]
)
def test_the_published_networks_have_the_published_numbers_of_parameters(
    width: int, heads: int, backbone: int, projector: int
) -> None:
    """Check 14: with fixed positions; the heads beside a ResNet are in ``test_projection_heads``."""
    base = {"name": "moco", "hidden": 4096, "width": 256}
    with torch.device("meta"):
        net = ViTConfig(width=width, depth=12, heads=heads, patch_px=16).build(image_px=224, channels=3)
        method = SDMPConfig(base=base).build(backbone=net, contract=COLOUR)
    assert num_parameters(method.backbone) + num_parameters(method.norm) == backbone
    assert num_parameters(method.base.projector) == projector
    assert num_parameters(method.base) - projector == 2_105_344


@bases
def test_patch_embedding_positions_and_momentum_branch_get_no_gradient(base: dict[str, Any]) -> None:
    """Check 14, last part."""
    method = build(base=base)
    method.training_step(drawn(method), Clock()).loss.backward()  # type: ignore[no-untyped-call]
    still = {name for name, parameter in method.named_parameters() if parameter.grad is None}
    fixed = ("backbone.patch_embed.", "backbone.pos_embed", "momentum.")
    assert still == {name for name, _ in method.named_parameters() if name.startswith(fixed)}
    trained = build(base=base, freeze_patches=False)
    assert trained.backbone.get_parameter("patch_embed.proj.weight").requires_grad


@pytest.mark.parametrize(("part", "momentum"), [(0.0, 0.99), (0.5, 0.995), (1.0, 1.0)])
def test_the_momentum_rises_as_half_a_cosine(part: float, momentum: float) -> None:
    """Check 15, first part."""
    clock = Clock(round=int(100 * part), rounds=100)
    assert build().momentum_at(clock) == pytest.approx(momentum)
    assert build(base=DINO_BASE).momentum_at(Clock()) == pytest.approx(0.996)


@pytest.mark.parametrize("momentum", [0.0, 1.0])
def test_the_momentum_branch_copies_or_stands_still_at_the_ends(momentum: float) -> None:
    """Check 15, last part."""
    method = build(base={**MOCO, "momentum": momentum})
    before = {name: tensor.clone() for name, tensor in method.momentum.named_parameters()}
    step(method, drawn(method), Clock())
    method.before_step(Clock())
    online = {**dict(method.named_parameters()), **{f"projector.{n}": p for n, p in _projector(method)}}
    for name, slow in method.momentum.named_parameters():
        assert torch.equal(slow, before[name] if momentum else online[name])


def _projector(method: SDMP) -> Any:
    return method.base.projector.named_parameters()


def test_the_momentum_branch_moves_before_the_step_by_the_published_rule() -> None:
    method, clock = build(), Clock(round=3, rounds=10)
    with torch.no_grad():
        method.get_parameter("backbone.cls_token").add_(1)
    slow, fast = method.momentum.get_parameter("backbone.cls_token").clone(), method.get_parameter("backbone.cls_token")
    method.before_step(clock)
    m = 1 - 0.01 * 0.5 * (1 + cos(pi * 0.3))
    torch.testing.assert_close(method.momentum.get_parameter("backbone.cls_token"), m * slow + (1 - m) * fast)


def test_a_rebuilt_branch_copies_the_received_weights_once_a_round() -> None:
    kept, rebuilt = build(), build(momentum_branch="rebuild")
    for method in (kept, rebuilt):
        with torch.no_grad():
            method.get_parameter("backbone.cls_token").add_(1)
        method.before_step(Clock(round=1, rounds=10, steps=5))
    token = rebuilt.get_parameter("backbone.cls_token").detach().clone()
    torch.testing.assert_close(rebuilt.momentum.get_parameter("backbone.cls_token"), token)
    assert not torch.allclose(kept.momentum.get_parameter("backbone.cls_token"), token)
    with torch.no_grad():
        rebuilt.get_parameter("backbone.cls_token").add_(1)
    rebuilt.before_step(Clock(round=1, rounds=10, step=1, steps=5))
    torch.testing.assert_close(rebuilt.momentum.get_parameter("backbone.cls_token"), token + 0.01, atol=0.002, rtol=0)


def test_without_its_terms_a_step_is_one_of_moco_v3() -> None:
    """Check 16: loss and gradients of the symmetrised sum, written out."""
    method = build(views="extra", source_weight=0, mixed_weight=0)
    batch = drawn(method)
    loss = method.training_step(batch, Clock()).loss
    loss.backward()  # type: ignore[no-untyped-call]
    found = {name: parameter.grad for name, parameter in method.named_parameters() if parameter.grad is not None}
    method.zero_grad()
    first, second = batch.drawn["first"], batch.drawn["second"]
    queries, keys = [method._query(view) for view in (first, second)], [method.momentum(v) for v in (second, first)]
    plain = torch.stack([_moco(query, key) for query, key in zip(queries, keys, strict=True)]).sum()
    plain.backward()  # type: ignore[no-untyped-call]
    torch.testing.assert_close(loss, plain)
    assert found.keys() == {name for name, parameter in method.named_parameters() if parameter.requires_grad}
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, method.get_parameter(name).grad, atol=1e-6, rtol=1e-4)


def _moco(queries: Tensor, keys: Tensor) -> Tensor:
    similarities = functional.normalize(queries, dim=1) @ functional.normalize(keys, dim=1).T / 0.2
    return functional.cross_entropy(similarities, torch.arange(len(queries))) * 2 * 0.2


@bases
def test_the_published_weights_are_a_half_for_two_views_and_one_for_four(base: dict[str, Any]) -> None:
    for views, weight in (("swap", 0.5), ("extra", 1.0)):
        method = build(base=base, views=views)
        batch = drawn(method)
        terms, loss = method.terms(batch), method.training_step(batch, Clock()).loss
        torch.testing.assert_close(loss, (terms.clean + weight * (terms.source + terms.mixed)).mean())


def test_two_views_change_places_by_a_coin_and_are_what_is_mixed() -> None:
    method = build(first_view=STILL, second_view={**STILL, "solarise": 1.0})
    orders = set()
    for seed in range(20):
        found = drawn(method, seed=seed).drawn
        orders.add(torch.allclose(found["first"], pictures(), atol=1e-5))
        assert torch.equal(found["source"], found["first"])
        assert not torch.equal(found["mixed_first"], found["first"])
    assert orders == {True, False}


# A view that is the image itself.
STILL: dict[str, Any] = {
    "crop_scale": [1.0, 1.0], "crop_ratio": [1.0, 1.0], "flip": 0, "jitter": 0, "grey": 0, "blur": 0,
}  # fmt: skip


@pytest.mark.parametrize("operation", ["mixup", "cutmix", "resizemix"])
def test_the_settings_choose_how_is_mixed(operation: str) -> None:
    mixing = {"mixup": 0, "cutmix": 0, "resizemix": 0, operation: 1}
    method = build(mixing=mixing, first_view=STILL, second_view=STILL)
    found = drawn(method).drawn
    own, mixed, images = found["own"], found["mixed_first"], pictures()
    untouched = (mixed - images).abs().amax(dim=1).lt(1e-5).flatten(1).float().mean(dim=1)
    if operation == "mixup":
        weight = own.view(-1, 1, 1, 1)
        torch.testing.assert_close(mixed, weight * images + (1 - weight) * images.flip(0), atol=1e-5, rtol=0)
    else:
        torch.testing.assert_close(untouched, own, atol=0.01, rtol=0)


def test_keys_and_partners_are_those_of_the_own_batch() -> None:
    """In place of check 13: nothing is gathered from others, so a batch of another site changes no loss."""
    method = build().eval()
    here, there = drawn(method), drawn(method, seed=5)
    alone = method.training_step(here, Clock()).loss
    method.training_step(there, Clock())
    assert torch.equal(method.training_step(here, Clock()).loss, alone)


@bases
@pytest.mark.parametrize("kind", ["vit", "small_cnn"])
@pytest.mark.parametrize("views", ["swap", "extra"])
def test_steps_lower_the_loss_and_a_batch_repeats_its_own(base: dict[str, Any], kind: str, views: str) -> None:
    method = build(base=base, kind=kind, views=views).train()
    batch = drawn(method)
    first, again = (method.training_step(batch, Clock()).loss for _ in range(2))
    assert torch.equal(first, again)
    losses = [step(method, batch, Clock(rounds=100), lr=0.2) for _ in range(8)]
    assert float(losses[-1]) < float(losses[0])


def test_the_centre_of_dino_follows_clean_teacher_outputs_after_the_step() -> None:
    method = build(base=DINO_BASE)
    assert isinstance(method.base, DINO)
    batch = drawn(method)
    clean = torch.cat([method.momentum(batch.drawn[name]) for name in ("first", "second")]).mean(dim=0)
    method.training_step(batch, Clock())
    assert not method.base.centre.any()
    method.after_step(Clock())
    torch.testing.assert_close(method.base.centre, 0.1 * clean)
    method.after_step(Clock())  # nothing new was seen
    torch.testing.assert_close(method.base.centre, 0.1 * clean)


def test_a_centred_teacher_is_what_dino_compares_with() -> None:
    method = build(base=DINO_BASE)
    assert isinstance(method.base, DINO)
    online, target = torch.randn(4, 12), torch.randn(4, 12)
    method.base.centre += 1
    found = method.base.loss(online, target, torch.ones(4))
    wanted = ((target - 1) / 0.04).softmax(dim=1)
    torch.testing.assert_close(found, functional.cross_entropy(online / 0.1, wanted, reduction="none"))


@bases
def test_the_momentum_branch_and_the_centre_stay_at_the_site(base: dict[str, Any]) -> None:
    method = build(base=base)
    partition = Partition(manifest_of(method), method.rules())
    sent = {name.split(".")[0] for name in partition.shared_manifest.names()}
    assert sent == {"backbone", "norm", "base"}
    assert "base.centre" not in partition.shared_manifest.names()


def fine_tuning(kind: str) -> Method:
    method = SupervisedConfig().build(backbone=network(kind), contract=COLOUR)
    assert isinstance(method, Method)
    return method


@pytest.mark.parametrize(("kind", "pooled"), [("vit", {"backbone.fc_norm.weight", "backbone.fc_norm.bias"}),
                                              ("small_cnn", set())])  # fmt: skip
def test_fine_tuning_lacks_the_new_head_and_nothing_else(kind: str, pooled: set[str]) -> None:
    """Check 17; a vision transformer's pooled features have a norm that pre-training has not."""
    source, target = build(kind=kind), fine_tuning(kind)
    inheritance = target.inherit(source.state_dict(), source)
    assert set(inheritance.new) == {"head.weight", "head.bias"} | pooled
    assert {name.split(".")[0] for name in inheritance.dropped} <= {"norm", "base", "momentum"}


def test_it_goes_on_from_masked_autoencoding_in_both_branches() -> None:
    torch.manual_seed(5)
    source = MAEConfig(decoder_width=16, decoder_heads=2).build(backbone=network(), contract=COLOUR)
    method = build()
    inheritance = method.inherit(source.state_dict(), source)
    assert {name.split(".")[0] for name in inheritance.taken} == {"backbone", "norm"}
    assert set(inheritance.cloned) == {f"momentum.{name}" for name in inheritance.taken}
    assert {".".join(name.split(".")[:2]) for name in inheritance.new} >= {"base.projector", "momentum.projector"}
    assert torch.equal(method.get_parameter("backbone.cls_token"), source.get_parameter("backbone.cls_token"))
    assert torch.equal(method.momentum.get_parameter("backbone.cls_token"), source.get_parameter("backbone.cls_token"))


@bases
def test_it_goes_on_from_its_own_with_a_momentum_branch_that_follows(base: dict[str, Any]) -> None:
    """Momentum branches stayed at the sites: that of the method which gives the weights was never trained."""
    source, method = build(base=base), build(base=base)
    for module, value in ((source.base, 0.5), (source.momentum, 7.0)):
        for parameter in module.parameters():
            torch.nn.init.constant_(parameter, value)
    inheritance = method.inherit(source.state_dict(), source)
    state = method.state_dict()
    assert {name.split(".")[0] for name in inheritance.taken} == {"backbone", "norm", "base"}
    assert set(inheritance.new) == {"base.centre"} & set(state)
    assert all(torch.equal(state[name], source.state_dict()[name]) for name in inheritance.taken)
    online = {name.removeprefix("base."): value for name, value in state.items()}
    assert all(torch.equal(state[name], online[name.removeprefix("momentum.")]) for name in inheritance.cloned)
    assert set(inheritance.cloned) == {name for name in state if name.startswith("momentum.")}


@pytest.mark.parametrize("kind", ["vit", "small_cnn"])
def test_it_goes_on_from_training_with_labels(kind: str) -> None:
    source, method = fine_tuning(kind), build(kind=kind)
    inheritance = method.inherit(source.state_dict(), source)
    assert all(name.startswith("backbone.") for name in inheritance.taken)
    assert {"head.weight", "head.bias"} <= set(inheritance.dropped)


def test_another_network_is_refused() -> None:
    source = fine_tuning("small_cnn")
    with pytest.raises(CheckpointError, match=r"expected 'backbone.*found nothing"):
        build().inherit(source.state_dict(), source)


@bases
def test_a_batch_of_one_is_refused_in_training_and_evaluated_alone(base: dict[str, Any]) -> None:
    method = build(base=base)
    with pytest.raises(DataError, match=r"need two images in a batch, found 1: raise local.batch_size"):
        method.training_step(drawn(method, 1), Clock())
    assert method.eval().predict(pictures(1)).shape == (1,)


def test_evaluation_knows_how_images_were_standardised() -> None:
    method = build().eval()
    plain = method.predict(pictures())
    standardised = Batch(images=(pictures() - 0.5) / 0.25, mean=0.5, std=0.25)
    assert torch.equal(method.predict(pictures()), plain)
    expected = method.evaluation_loss(method.prepare(standardised, torch.Generator().manual_seed(0)))
    assert torch.equal(method.predict_batch(standardised), expected)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"base": "simclr"}, "simclr"),
        ({"base": {"name": "dino", "temperature": 0.2}}, "unknown key 'temperature'"),
        ({"mixing": {"mixup": 0.5}}, "sum to 1.5: expected 1"),
        ({"views": "three"}, "views"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        SDMPConfig(**settings)


def test_a_base_can_be_chosen_by_its_name() -> None:
    assert SDMPConfig.model_validate({"base": "dino"}).base.name == "dino"


def test_volumes_are_refused() -> None:
    stage = {"name": "only", "method": "sdmp", "backbone": "vit", "rounds": 1}
    with pytest.raises(SpecError, match="reads two views of images"):
        Spec.parse({"name": "s", "dataset": {"name": "d", "kind": "volume", "depth": 8}, "stages": [stage]})


def multi_crop(**settings: Any) -> dict[str, Any]:
    return {**DINO_BASE, "local_crops": 3, **settings}


@pytest.mark.parametrize(("kind", "size"), [("vit", None), ("vit", 16), ("cnn", None)])
def test_local_crops_are_drawn_small_and_after_all_else(kind: str, size: int | None) -> None:
    """What else is drawn stays as it was without them."""
    with_crops = drawn(build(kind=kind, base=multi_crop(local_px=size))).drawn
    without = drawn(build(kind=kind, base=DINO_BASE)).drawn
    assert with_crops["local"].shape == (3, 6, 3, size or 32, size or 32)
    assert set(with_crops) - set(without) == {"local"}
    assert all(torch.equal(tensor, with_crops[name]) for name, tensor in without.items())


@pytest.mark.parametrize("views", ["swap", "extra"])
def test_local_crops_join_the_clean_loss_as_the_mean_over_pairs(views: str) -> None:
    """The slow twin loops over crops and targets; mixes are left alone."""
    method = build(base=multi_crop(local_px=16), views=views).eval()
    batch = drawn(method)
    alone = build(base=DINO_BASE, views=views).eval()
    alone.load_state_dict(method.state_dict())
    terms, clean = method.terms(batch), alone.terms(Batch(images=batch.images, drawn=without_local(batch)))
    pairs, losses = (2 if views == "extra" else 1), []
    for crop in batch.drawn["local"]:
        student = method.base(method.features(crop)) / 0.1
        for view in ("first", "second"):
            teacher = (method.momentum(batch.drawn[view]) - method.base.get_buffer("centre")) / 0.04
            losses.append(-(teacher.softmax(dim=1) * student.log_softmax(dim=1)).sum(dim=1))
    expected = pairs * (clean.clean + sum(losses)) / (pairs + 6)
    torch.testing.assert_close(terms.clean, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(terms.mixed, clean.mixed)
    torch.testing.assert_close(terms.source, clean.source)


def without_local(batch: Batch) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in batch.drawn.items() if name != "local"}


def test_crops_as_large_as_the_images_that_show_the_views_add_nothing_new() -> None:
    """A local crop that is the first view costs against the second target what the first view costs."""
    method = build(base={**DINO_BASE, "local_crops": 1}).eval()
    batch = drawn(method)
    batch.drawn["local"][0] = batch.drawn["first"]
    clean = method.terms(Batch(images=batch.images, drawn=without_local(batch))).clean
    own = method.base.loss(
        method.base(method.features(batch.drawn["first"])), method.momentum(batch.drawn["first"]), torch.ones(6)
    )
    torch.testing.assert_close(method.terms(batch).clean, (2 * clean + own) / 3)


@pytest.mark.parametrize(
    ("base", "message"),
    [
        ({**DINO_BASE, "local_px": 16}, "have no effect without local_crops"),
        ({**DINO_BASE, "local_view": {"crop_scale": [0.1, 0.2]}}, "have no effect without local_crops"),
    ],
)
def test_settings_of_local_crops_without_any_are_refused(base: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        SDMPConfig(base=base)


def test_crops_that_the_backbone_does_not_take_are_refused() -> None:
    with pytest.raises(SpecError, match="does not divide into patches of 8"):
        build(base=multi_crop(local_px=20))
    with pytest.raises(SpecError, match="leave local_px out"):
        build(kind="cnn", base=multi_crop(local_px=16))


def test_crops_that_a_network_of_a_library_does_not_take_are_refused() -> None:
    form = {"patch_size": 8, "embed_dim": 12, "depth": 1, "num_heads": 2}
    backbone = TimmConfig(network="vit_tiny_patch16_224", arguments=form).build(image_px=32, channels=1)
    with pytest.raises(SpecError, match="leave local_px out"):
        check_takes(backbone, size_px=16, channels=1)


def test_local_crops_change_the_step_and_the_centre_is_that_of_clean_views_alone() -> None:
    method, alone = build(base=multi_crop(local_px=16)), build(base=DINO_BASE)
    for one in (method, alone):
        step(one, drawn(one), Clock(round=0, rounds=4))
    assert torch.equal(method.base.get_buffer("centre"), alone.base.get_buffer("centre"))
    assert not torch.allclose(method.backbone.get_parameter("cls_token"), alone.backbone.get_parameter("cls_token"))


def test_prototypes_stand_still_for_as_long_as_asked_even_under_decay() -> None:
    method = build(base={**DINO_BASE, "frozen_rounds": 1.5})
    prototypes = method.base.get_parameter("projector.prototypes")
    start = prototypes.detach().clone()
    optimizer = torch.optim.AdamW([p for p in method.parameters() if p.requires_grad], weight_decay=0.5)
    for clock, still in ((Clock(rounds=3), True), (Clock(round=1, rounds=3), True), (Clock(round=2, rounds=3), False)):
        optimizer.zero_grad()
        method.training_step(drawn(method), clock).loss.backward()  # type: ignore[no-untyped-call]
        method.after_backward(clock)
        optimizer.step()
        assert torch.equal(prototypes, start) == still
