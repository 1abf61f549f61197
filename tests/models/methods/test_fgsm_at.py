"""Adversarial training: what is drawn, what is perturbed, what the tricks add, and what is watched."""

import sys
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from fedward_core.cards import Contract, Task
from fedward_core.errors import DataError, SpecError
from fedward_core.partition import Partition
from fedward_core.spec import Local, Spec
from fedward_models.backbones.backbone import Backbone
from fedward_models.backbones.preact_resnet.config import PreActResNetConfig
from fedward_models.backbones.robust_cnn.config import RobustCNNConfig
from fedward_models.backbones.small_cnn.config import SmallCNNConfig
from fedward_models.batch import Batch
from fedward_models.building import manifest_of, seeded
from fedward_models.losses.first_layer import FirstLayerNorm, first_layer_penalty
from fedward_models.losses.gradient_alignment import alignment_strength, gradient_alignment_loss
from fedward_models.methods.fgsm_at.config import FGSMATConfig
from fedward_models.methods.fgsm_at.crafting import CarriedPerturbation
from fedward_models.methods.fgsm_at.fgsm_at import FGSMAT
from fedward_models.methods.fgsm_at.hiding import with_hidden_pixels
from fedward_models.methods.fgsm_at.pixel_space import classifier_of_pixels, pixels_of
from fedward_models.methods.fgsm_at.under_attack import gradient_cosine
from fedward_models.step import Clock
from fedward_models.training.fit import fit
from fedward_models.training.phase import Phase
from fedward_models.weights import arrays_of, load_arrays

CLASSES = Contract(classes=("a", "b", "c"), channels=1)
PLAIN: dict[str, Any] = {"mask_ratio": 0.0, "first_layer_penalty": 0.0}
MEAN, STD = 0.3, 0.25


def build(backbone: Backbone | None = None, contract: Contract = CLASSES, **settings: Any) -> FGSMAT:
    with seeded(0):
        network = backbone or SmallCNNConfig(widths=(4,), hidden=(), norm="none").build(image_px=8, channels=1)
        method = FGSMATConfig(**settings).build(backbone=network, contract=contract)
    assert isinstance(method, FGSMAT)
    return method


def plain(**settings: Any) -> FGSMAT:
    return build(**{**PLAIN, **settings})


def batch(size: int = 6) -> Batch:
    """Standardised levels of grey, some of them black or white."""
    rng = torch.Generator().manual_seed(2)
    pixels = (1.4 * torch.rand(size, 1, 8, 8, generator=rng) - 0.2).clamp(0, 1)
    images = (255 * pixels).round().sub(255 * MEAN).div(255 * STD)
    return Batch(images=images, labels=torch.arange(size) % 3, mean=MEAN, std=STD, seed=1)


def prepared(method: FGSMAT, seed: int = 0) -> Batch:
    return method.prepare(batch(), torch.Generator().manual_seed(seed))


def clean_loss(method: FGSMAT, images: Tensor) -> Tensor:
    return nn.functional.cross_entropy(method.logits(images), torch.arange(6) % 3, reduction="none").mean()


def step(method: FGSMAT, given: Batch) -> Tensor:
    return method.training_step(given, Clock(step=1)).loss


def test_pixels_of_a_standardised_batch_are_levels_of_grey_with_exact_ends() -> None:
    pixels = pixels_of(batch())
    torch.testing.assert_close(255 * pixels, (255 * pixels).round(), atol=1e-3, rtol=0)
    assert int((pixels == 0).sum()) > 10
    assert int((pixels == 1).sum()) > 10


@given(
    attack=st.sampled_from(["fgsm", "fgsm_rs", "pgd"]),
    epsilon=st.floats(0, 0.5),
    ratio=st.sampled_from([0.0, 0.4]),
    seed=st.integers(0, 100),
)
def test_perturbations_stay_within_epsilon_and_the_image(attack: str, epsilon: float, ratio: float, seed: int) -> None:
    """Check 5."""
    method = plain(attack=attack, epsilon=epsilon, mask_ratio=ratio, **({"steps": 2} if attack == "pgd" else {}))
    given = prepared(method, seed)
    found = method.perturb(given)
    assert float(found.abs().max()) <= epsilon + 1e-6
    shown = pixels_of(with_hidden_pixels(method.config, given)) + found
    assert -1e-6 <= float(shown.min()) <= float(shown.max()) <= 1 + 1e-6


def test_noise_fgsm_leaves_the_ball_and_stays_within_three_radii() -> None:
    """Check 5."""
    method = plain(attack="n_fgsm", epsilon=0.1)
    largest = float(method.perturb(prepared(method)).abs().max())
    assert 0.1 < largest <= 0.3 + 1e-6


@pytest.mark.parametrize("attack", ["fgsm", "fgsm_rs", "n_fgsm", "pgd", "free"])
def test_without_a_radius_a_step_is_a_plain_step_bit_for_bit(attack: str) -> None:
    """Check 6."""
    method = plain(attack=attack, epsilon=0.0)
    given = prepared(method)
    assert not bool(method.perturb(given).any())
    assert torch.equal(step(method, given), clean_loss(method, batch().images))


def test_a_longer_step_from_the_image_changes_nothing() -> None:
    """Check 7."""
    long, short = plain(step_ratio=1.25), plain()
    assert torch.equal(long.perturb(prepared(long)), short.perturb(prepared(short)))


def test_pgd_with_one_step_of_full_length_is_fgsm() -> None:
    """Check 8."""
    pgd, fgsm = plain(attack="pgd", steps=1, step_ratio=1.0), plain(ties="pass")
    assert torch.equal(pgd.perturb(prepared(pgd)), fgsm.perturb(prepared(fgsm)))


@pytest.mark.parametrize("attack", ["fgsm", "fgsm_rs", "n_fgsm", "pgd"])
def test_perturbing_raises_the_loss_and_touches_no_gradient(attack: str) -> None:
    """Check 11."""
    method = plain(attack=attack)
    given = prepared(method)
    method.perturb(given)
    assert all(parameter.grad is None for parameter in method.parameters())
    assert float(step(method, given).detach()) > float(clean_loss(method, batch().images).detach())


@pytest.mark.parametrize(("settings", "passes"), [({}, 2), ({"attack": "pgd", "steps": 3}, 4), ({"attack": "free"}, 1)])
def test_a_step_makes_no_pass_beside_those_of_attack_and_training(settings: dict[str, Any], passes: int) -> None:
    """Batch norms see each of them, so that one more would be another network in evaluation."""
    method = normed(**PLAIN, **settings).train()
    method.training_step(prepared(method), Clock(step=1))
    counters = [int(count) for name, count in method.named_buffers() if name.endswith("num_batches_tracked")]
    assert set(counters) == {passes}


@pytest.mark.parametrize("attack", ["fgsm", "pgd"])
def test_saturated_pixels_move_unless_the_rule_for_ties_forbids_it(attack: str) -> None:
    method, pixels = plain(attack=attack), pixels_of(batch())
    for ties, moving in (("pass", True), ("half", True), ("zero", False)):
        found = plain(attack=attack, ties=ties).perturb(prepared(method))
        assert bool(found[(pixels == 0) | (pixels == 1)].any()) == moving
    assert method.config.ties == "pass"


@pytest.mark.parametrize("ratio", [0.1, 0.4, 0.7])
@pytest.mark.parametrize("square", [1, 3])
def test_as_many_pixels_are_hidden_as_asked(ratio: float, square: int) -> None:
    """Check 12: within three deviations."""
    method = plain(mask_ratio=ratio, mask_px=square)
    kept = torch.cat([prepared(method, seed).drawn["kept"] for seed in range(60)])
    squares = kept.numel() / square**2
    assert float((~kept).float().mean()) == pytest.approx(ratio, abs=3 * (ratio * (1 - ratio) / squares) ** 0.5 + 0.01)


@pytest.mark.parametrize(("value", "pixel"), [("black", 0.0), ("mean", MEAN)])
def test_hidden_pixels_show_the_asked_value_and_others_are_untouched(value: str, pixel: float) -> None:
    """Check 12."""
    method = build(mask_value=value)
    given = prepared(method)
    shown, kept = with_hidden_pixels(method.config, given), given.drawn["kept"]
    torch.testing.assert_close(shown.images * STD + MEAN, torch.where(kept, given.images * STD + MEAN, pixel))
    assert torch.equal(shown.images[kept], given.images[kept])


def test_masks_differ_by_mode() -> None:
    """Check 12: the fixed mask is the same in every step, epoch and site."""
    random, one, fixed = (build(mask_mode=mode) for mode in ("random", "batch", "fixed"))
    masks = {m.config.mask_mode: [prepared(m, seed).drawn["kept"] for seed in (0, 1)] for m in (random, one, fixed)}
    assert not torch.equal(masks["random"][0][0], masks["random"][0][1])
    assert torch.equal(masks["batch"][0][0], masks["batch"][0][1])
    assert not torch.equal(masks["batch"][0], masks["batch"][1])
    assert torch.equal(masks["fixed"][0], masks["fixed"][1])
    other = build(mask_mode="fixed", mask_seed=1)
    assert not torch.equal(prepared(other).drawn["kept"], masks["fixed"][0])


def test_the_grid_is_a_checkerboard() -> None:
    method = build(mask_mode="grid", mask_ratio=0.5, mask_px=2)
    kept = prepared(method).drawn["kept"][0, 0]
    assert kept[:4, :4].int().tolist() == [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1]]


def test_evaluation_sees_whole_images() -> None:
    """Check 12."""
    method = build().eval()
    given = prepared(method)
    torch.testing.assert_close(method.evaluation_loss(given).mean(), clean_loss(method, batch().images))


@pytest.mark.parametrize(
    "settings", [{"mask_px": 8}, {"mask_px": 9}, {"mask_mode": "grid", "mask_ratio": 0.5, "mask_px": 8}]
)
def test_squares_that_cover_a_whole_image_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(SpecError, match="images have 8 pixels a side"):
        build(**settings)
    build(mask_px=7)


def test_squares_that_cover_whole_slices_are_refused_with_the_first_batch() -> None:
    volumes = Batch(images=torch.randn(5, 1, 4, 4, 4), labels=torch.arange(5) % 3, mean=0.5, std=0.1)
    with pytest.raises(SpecError, match="images have 4 pixels a side"):
        build(Linear(), mask_px=4).prepare(volumes, torch.Generator().manual_seed(0))


def test_without_a_mask_nothing_is_drawn_and_training_is_plain() -> None:
    """Check 12: the loss and its gradients are those of a step of FGSM, written out."""
    method, twin = plain(epsilon=0.1), plain(epsilon=0.1)
    assert prepared(method).drawn == {}
    labels, pixels = torch.arange(6) % 3, pixels_of(batch()).requires_grad_(True)
    nn.functional.cross_entropy(twin.logits((pixels - MEAN) / STD), labels).backward()  # type: ignore[no-untyped-call]
    assert pixels.grad is not None
    perturbed = (pixels + 0.1 * pixels.grad.sign()).detach().clamp(0, 1)
    twin.zero_grad()
    expected = nn.functional.cross_entropy(twin.logits((perturbed - MEAN) / STD), labels)
    expected.backward()  # type: ignore[no-untyped-call]
    found = step(method, prepared(method))
    found.backward()  # type: ignore[no-untyped-call]
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    for ours, theirs in zip(method.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=1e-6)


def test_hidden_pixels_are_spared_on_demand() -> None:
    method = build(perturb_masked=False, mask_value="mean")
    given = prepared(method)
    assert not bool(method.perturb(given)[~given.drawn["kept"]].any())
    assert bool(build(mask_value="mean").perturb(given)[~given.drawn["kept"]].any())


@pytest.mark.parametrize("norm", FirstLayerNorm)
def test_the_first_layers_penalty_is_added_with_its_weight(norm: FirstLayerNorm) -> None:
    """Check 14."""
    method, without = plain(first_layer_penalty=0.3, first_layer_norm=norm), plain()
    weight = method.backbone.get_parameter("stages.0.conv.weight")
    difference = step(method, prepared(method)) - step(without, prepared(without))
    torch.testing.assert_close(difference, 0.3 * first_layer_penalty(weight, norm))


def test_the_first_layers_penalty_pulls_at_its_weights_alone() -> None:
    """Check 14."""
    gradients = []
    for penalty in (0.3, 0.0):
        method = plain(first_layer_penalty=penalty)
        step(method, prepared(method)).backward()  # type: ignore[no-untyped-call]
        gradients.append({name: p.grad for name, p in method.named_parameters()})
    weight = plain().backbone.get_parameter("stages.0.conv.weight").data
    for name, gradient in gradients[0].items():
        other = gradients[1][name]
        assert gradient is not None
        assert other is not None
        expected = 2 * 0.3 * weight if name.endswith("stages.0.conv.weight") else torch.zeros_like(gradient)
        torch.testing.assert_close(gradient - other, expected, atol=1e-6, rtol=0)


def test_the_squared_penalty_is_more_weight_decay_under_sgd() -> None:
    """Check 14."""
    first = "backbone.stages.0.conv.weight"
    penalised, decayed = plain(first_layer_penalty=0.05), plain()
    named = dict(decayed.named_parameters())
    groups: list[dict[str, Any]] = [
        {"params": [named.pop(first)], "weight_decay": 5e-4 + 2 * 0.05},
        {"params": list(named.values())},
    ]
    optimizers = {
        penalised: torch.optim.SGD(penalised.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4),
        decayed: torch.optim.SGD(groups, lr=0.1, momentum=0.9, weight_decay=5e-4),
    }
    for seed in range(3):
        for method, optimizer in optimizers.items():
            optimizer.zero_grad()
            step(method, prepared(method, seed)).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    torch.testing.assert_close(penalised.get_parameter(first), decayed.get_parameter(first), atol=1e-5, rtol=0)


def test_penalties_agree_with_their_slow_twins() -> None:
    weight = torch.randn(3, 2, 2, 2, generator=torch.Generator().manual_seed(0))
    rows = [[float(value) for value in filter_.flatten()] for filter_ in weight]
    expected = {
        FirstLayerNorm.FROBENIUS: sum(value**2 for row in rows for value in row),
        FirstLayerNorm.L1: sum(abs(value) for row in rows for value in row),
        FirstLayerNorm.GAIN: max(sum(abs(value) for value in row) for row in rows),
    }
    for norm, value in expected.items():
        assert float(first_layer_penalty(weight, norm)) == pytest.approx(value, rel=1e-5)
    vector = torch.ones(8)
    for _ in range(500):  # power iteration
        vector = weight.flatten(1).T @ (weight.flatten(1) @ vector)
        vector = vector / vector.norm()
    largest = float((weight.flatten(1) @ vector).norm()) ** 2
    assert float(first_layer_penalty(weight, FirstLayerNorm.SPECTRAL)) == pytest.approx(largest, rel=1e-4)


class Linear(Backbone):
    """Pixels as they are, so that the method is a linear model of two classes."""

    def __init__(self) -> None:
        super().__init__()
        self.num_features = 64
        self.layer = nn.Linear(64, 64, bias=False)
        nn.init.eye_(self.layer.weight)

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.layer(images.flatten(1))
        return features

    def feature_map(self, images: Tensor) -> Tensor:
        raise NotImplementedError

    def channel_groups(self) -> tuple[Any, ...]:
        return ()

    def layer_of(self, name: str) -> int:
        return 0

    def num_layers(self) -> int:
        return 1


def test_alignment_adds_nothing_for_a_linear_model_of_two_classes() -> None:
    """Check 15: gradients at both points are multiples of one vector."""
    two = Contract(classes=("a", "b"), channels=1)
    losses = []
    for weight in (0.0, 5.0):
        method = build(Linear(), two, grad_align=weight, **PLAIN)
        given = batch()
        labelled = Batch(images=given.images, labels=torch.arange(6) % 2, mean=MEAN, std=STD)
        losses.append(step(method, method.prepare(labelled, torch.Generator().manual_seed(0))))
    torch.testing.assert_close(losses[0], losses[1], atol=1e-4, rtol=0)


@given(st.integers(1, 4), st.integers(0, 99))
def test_alignment_agrees_with_its_slow_twin_and_is_between_none_and_two(size: int, seed: int) -> None:
    """Check 15."""
    one, other = torch.randn(2, size, 1, 3, 3, generator=torch.Generator().manual_seed(seed))
    cosines = [
        sum(float(a) * float(b) for a, b in zip(x.flatten(), y.flatten(), strict=True))
        / (sum(float(a) ** 2 for a in x.flatten()) * sum(float(b) ** 2 for b in y.flatten())) ** 0.5
        for x, y in zip(one, other, strict=True)
    ]
    found = float(gradient_alignment_loss(one, other))
    assert found == pytest.approx(1 - sum(cosines) / size, abs=1e-5)
    assert 0 <= found <= 2


def test_an_image_without_a_gradient_does_not_count_and_the_smallest_gradient_does() -> None:
    """As where the network is so sure of an image that hardly anything reaches its pixels."""
    one, other = torch.tensor([[3.0, 4.0], [0.0, 0.0], [2.0, 1.0]]), torch.tensor([[6.0, 8.0], [1.0, 0.0], [0.0, 0.0]])
    assert float(gradient_alignment_loss(one[..., None, None], other[..., None, None])) == pytest.approx(0, abs=1e-6)
    tiny = 1e-30 * torch.tensor([[[[3.0, -4.0]]]])
    assert float(gradient_alignment_loss(tiny, tiny)) == pytest.approx(0, abs=1e-6)
    assert float(gradient_alignment_loss(tiny, -tiny)) == pytest.approx(2, abs=1e-6)
    nothing = torch.zeros(2, 1, 2, 2, requires_grad=True)
    loss = gradient_alignment_loss(torch.ones(2, 1, 2, 2), nothing)
    loss.backward()  # type: ignore[no-untyped-call]
    assert float(loss.detach()) == 0


def test_the_published_strengths_of_alignment() -> None:
    """Check 15."""
    assert alignment_strength(8 / 255) == pytest.approx(0.2)
    assert alignment_strength(16 / 255) == pytest.approx(2.0)
    assert plain(grad_align="published")._alignment == pytest.approx(0.2)


def test_alignment_moves_the_weights() -> None:
    with_it, without = plain(grad_align=1.0), plain()
    for method in (with_it, without):
        step(method, prepared(method)).backward()  # type: ignore[no-untyped-call]
    first = "backbone.stages.0.conv.weight"
    assert not torch.allclose(with_it.get_parameter(first).grad, without.get_parameter(first).grad)  # type: ignore[arg-type]


def normed(**settings: Any) -> FGSMAT:
    with seeded(0):
        backbone = PreActResNetConfig(width=2).build(image_px=8, channels=1)
    return build(backbone, **settings)


def test_watching_leaves_modes_and_statistics_alone() -> None:
    """Check 18."""
    watched, blind = normed(monitor_steps=2, **PLAIN).train(), normed(**PLAIN).train()
    for method in (watched, blind):
        method.training_step(prepared(method), Clock())
        assert all(module.training for module in method.modules())
    for name, tensor in watched.state_dict().items():
        assert torch.equal(tensor, blind.state_dict()[name]), name


def test_training_reports_accuracy_under_attack_on_demand_once_an_epoch() -> None:
    method = plain(monitor_steps=2)
    assert set(method.training_step(prepared(method), Clock()).figures) == {
        "perturbed_accuracy",
        "fgsm_accuracy",
        "pgd_accuracy",
        "gradient_cosine",
    }
    assert set(method.training_step(prepared(method), Clock(step=1)).figures) == {"perturbed_accuracy"}


def test_evaluation_measures_each_image_under_attack_the_same_way_every_time() -> None:
    method = plain(epsilon=0.2).eval()
    with torch.no_grad():
        first, second = (method.measures(batch()) for _ in range(2))
    assert set(first) == {"fgsm_accuracy", "pgd_accuracy"}
    assert all(values.shape == (6,) and torch.equal(values, second[name]) for name, values in first.items())
    assert plain(evaluation_steps=0).measures(batch()) == {}


def test_several_steps_are_at_least_as_strong_as_one_on_a_trained_model() -> None:
    """Check 9."""
    method = plain(epsilon=0.1)
    optimizer = torch.optim.SGD(method.parameters(), lr=0.5)
    for seed in range(30):
        optimizer.zero_grad()
        step(method, prepared(method, seed)).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    with torch.no_grad():
        measured = {name: float(values.mean()) for name, values in method.eval().measures(batch()).items()}
        clean = float(method.predict(batch().images).argmax(dim=1).eq(torch.arange(6) % 3).float().mean())
    assert measured["pgd_accuracy"] <= measured["fgsm_accuracy"] <= clean
    assert clean > 0.5


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epsilon": 8}, "8 of 255 grey levels write 0.0314"),
        ({"epsilon": -0.1}, "radius in units of pixels"),
        ({"steps": 3}, "steps has no effect with attack 'fgsm'"),
        ({"noise_ratio": 1.0}, "noise_ratio has no effect"),
        ({"replays": 4}, "replays has no effect with attack 'fgsm'"),
        ({"mask_mode": "grid"}, "set mask_ratio to 0.5"),
        ({"mask_seed": 3}, "mask_seed has no effect"),
        ({"grad_align": -1.0}, "weight of at least 0"),
        ({"mask_ratio": 0.0, "mask_mode": "batch"}, "mask_mode has no effect with mask_ratio 0"),
        ({"mask_ratio": 0.0, "mask_px": 2}, "mask_px has no effect with mask_ratio 0"),
        ({"mask_ratio": 0.0, "mask_value": "mean"}, "mask_value has no effect with mask_ratio 0"),
        ({"mask_ratio": 0.0, "perturb_masked": False}, "perturb_masked has no effect with mask_ratio 0"),
        ({"first_layer_penalty": 0.0, "first_layer_norm": "l1"}, "first_layer_norm has no effect"),
        ({"evaluation_steps": 0, "evaluation_restarts": 2}, "evaluation_restarts has no effect"),
        ({"attack": "free", "ties": "zero"}, "ties has no effect with attack 'free'"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FGSMATConfig(**settings)


def test_a_radius_in_grey_levels_is_refused_in_a_spec_with_the_place() -> None:
    stage = {"name": "train", "method": {"name": "fgsm_at", "epsilon": 8}, "backbone": "small_cnn", "rounds": 1}
    with pytest.raises(SpecError, match="epsilon"):
        Spec.parse({"name": "robust", "dataset": {"name": "any"}, "stages": [stage]})


def test_labels_outside_of_the_classes_are_refused() -> None:
    given = batch()
    wrong = Batch(images=given.images, labels=torch.tensor([0, 1, 2, 3, 0, -1]), mean=MEAN, std=STD)
    with pytest.raises(DataError, match="2 labels are outside of the 3 classes"):
        plain().prepare(wrong, torch.Generator())


def test_missing_and_mixed_labels_are_refused() -> None:
    images = batch().images
    with pytest.raises(DataError, match="no labels"):
        plain().prepare(Batch(images=images), torch.Generator())
    with pytest.raises(DataError, match="one class an image"):
        plain().prepare(Batch(images=images, labels=torch.rand(6, 3)), torch.Generator())


@pytest.mark.parametrize("task", [Task.MULTI_LABEL, Task.SEGMENTATION])
def test_other_tasks_are_refused(task: Task) -> None:
    with pytest.raises(SpecError, match="one class each"):
        build(contract=Contract(task=task, classes=("a", "b"), channels=1))


def test_a_stage_with_other_classes_takes_the_network_over_and_starts_a_new_head() -> None:
    source, target = build(), build(contract=Contract(classes=("a", "b"), channels=1))
    inheritance = target.inherit(source.state_dict(), source)
    assert set(inheritance.new) == {"head.weight", "head.bias"}
    first = "backbone.stages.0.conv.weight"
    assert torch.equal(target.get_parameter(first), source.get_parameter(first))


class OneBatch:
    """A site whose epoch is one batch."""

    num_examples, num_steps = 6, 1

    def epoch(self, seed: int) -> Iterator[Batch]:
        yield batch()


def fitted(method: FGSMAT, *, rounds: int = 1) -> int:
    """Train on one batch a round; how many steps were made."""
    phase = Phase(local=Local.model_validate({"device": "cpu", "optimizer": {"name": "sgd", "lr": 0.1}}))
    return sum(
        fit(method, OneBatch(), (phase,), round_=r, rounds=rounds, seed=r, device=torch.device("cpu")).num_steps
        for r in range(rounds)
    )


def slow_free_training(method: FGSMAT, *, replays: int) -> None:
    """Algorithm 1 of Shafahi et al. on one batch."""
    given, epsilon = batch(), method.config.epsilon
    pixels, delta = pixels_of(given), torch.zeros(6, 1, 8, 8)
    optimizer = torch.optim.SGD(method.parameters(), lr=0.1, momentum=0.5)
    for _ in range(replays):
        delta.requires_grad_()
        loss = nn.functional.cross_entropy(method.logits(given.images + delta / STD), torch.arange(6) % 3)
        optimizer.zero_grad()
        delta.grad = None
        loss.backward()  # type: ignore[no-untyped-call]
        assert delta.grad is not None
        moved = (delta.detach() + epsilon * delta.grad.sign()).clamp(-epsilon, epsilon)
        delta = (pixels + moved).clamp(0, 1) - pixels
        optimizer.step()


def test_free_training_agrees_with_its_slow_twin() -> None:
    ours, twin = (plain(attack="free", replays=4, epsilon=0.1) for _ in range(2))
    assert fitted(ours) == 4
    slow_free_training(twin, replays=4)
    for name, tensor in ours.state_dict().items():
        torch.testing.assert_close(tensor, twin.state_dict()[name], atol=1e-6, rtol=0)


def test_free_training_stays_in_the_ball_and_begins_each_round_at_zero() -> None:
    method = plain(attack="free", replays=5, epsilon=0.1)
    fitted(method)
    carried = method.perturb(batch())
    assert 0 < float(carried.abs().max()) <= 0.1 + 1e-6
    assert 0 <= float((pixels_of(batch()) + carried).min()) <= float((pixels_of(batch()) + carried).max()) <= 1
    method.before_step(Clock())
    assert not bool(method.perturb(batch()).any())


def test_free_training_stays_in_the_image_range_where_each_step_hides_other_pixels() -> None:
    method = plain(attack="free", replays=3, epsilon=0.1, mask_ratio=0.5)
    fitted(method)
    for seed in range(3):
        given = method.prepare(batch(), torch.Generator().manual_seed(seed))
        shown = pixels_of(with_hidden_pixels(method.config, given)) + method.perturb(given)
        assert float(method.perturb(given).abs().max()) > 0
        assert 0 <= float(shown.min()) <= float(shown.max()) <= 1


def test_a_gradient_that_overflowed_moves_no_pixel_of_free_training() -> None:
    """As in the first steps of 16 bits, whose scaled loss is too large: the optimiser leaves such a step out."""
    carried, pixels = CarriedPerturbation(), pixels_of(batch())
    leaf = carried.at(pixels)
    leaf.grad = torch.full_like(leaf, 1.0)
    leaf.grad[0], leaf.grad[1] = torch.nan, torch.inf
    carried.move(step=0.1, radius=0.1)
    moved = carried.at(pixels).detach()
    assert bool(torch.isfinite(moved).all())
    assert not bool(moved[:2].any())
    assert bool(moved[2:].any())


def test_other_attacks_see_each_batch_once() -> None:
    assert plain(attack="free").replays == 8
    assert fitted(plain()) == 1


@pytest.mark.parametrize("attack", ["pgd", "fgsm", "fgsm_rs"])
def test_the_attack_grows_over_its_warm_up(attack: str) -> None:
    method = plain(attack=attack, warmup_rounds=4, epsilon=0.1)
    given = prepared(method)
    losses = [
        float(method.training_step(given, Clock(round=round_, rounds=8)).loss.detach()) for round_ in (0, 1, 2, 4, 7)
    ]
    if attack != "fgsm_rs":  # whose random start has full strength
        assert losses[0] == pytest.approx(float(clean_loss(method, batch().images).detach()), rel=1e-5)
    assert losses[0] < losses[1] < losses[2] < losses[3]
    assert losses[3] == losses[4] == float(step(plain(attack=attack, epsilon=0.1), given).detach())


def test_the_first_layer_never_gets_longer_than_its_cap() -> None:
    """Check 14, the capped form."""
    first = "backbone.stages.0.conv.weight"
    length = float(plain().get_parameter(first).detach().norm())
    capped, wide, free = plain(first_layer_cap=length / 2), plain(first_layer_cap=1e3), plain()
    for method in (capped, wide, free):
        fitted(method, rounds=2)
    assert float(capped.get_parameter(first).detach().norm()) == pytest.approx(length / 2, rel=1e-5)
    assert torch.equal(wide.get_parameter(first), free.get_parameter(first))


def running(method: FGSMAT) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in method.named_buffers() if "running" in name}


def test_running_statistics_are_those_of_whole_images_on_demand() -> None:
    """They equal those of one plain pass over the batch; the step itself is the same."""
    whole, training, passed = normed(norm_statistics="whole"), normed(), normed()
    losses = [float(step(method.train(), prepared(method)).detach()) for method in (whole, training)]
    assert losses[0] == losses[1]
    passed.train().logits(batch().images)
    assert all(torch.equal(tensor, running(passed)[name]) for name, tensor in running(whole).items())
    assert any(not torch.allclose(tensor, running(training)[name]) for name, tensor in running(whole).items())
    assert all(m.momentum == 0.1 for m in whole.modules() if isinstance(m, nn.BatchNorm2d))


def test_gradients_of_a_linear_model_agree_at_every_point_of_the_ball() -> None:
    """Check 15, as it is watched; the cosine of a bent network is lower."""
    two = Contract(classes=("a", "b"), channels=1)
    linear, bent = build(Linear(), two, **PLAIN), normed(**PLAIN).eval()
    labels = torch.arange(6) % 2
    straight, curved = (
        float(gradient_cosine(classifier_of_pixels(m, batch()), pixels_of(batch()), labels, radius=0.3))
        for m in (linear, bent)
    )
    assert straight == pytest.approx(1, abs=1e-5)
    assert -1 <= curved < 0.99


def test_evaluation_also_measures_attacks_without_gradients_on_demand() -> None:
    method = plain(epsilon=0.2, evaluation_steps=0, evaluation_square=30).eval()
    with torch.no_grad():
        first, second = (method.measures(batch())["square_accuracy"] for _ in range(2))
    assert torch.equal(first, second)
    assert set(method.measures(batch())) == {"square_accuracy"}


@pytest.mark.parametrize("settings", [{"evaluation_square": 5}, {"evaluation_auto_attack": True}])
def test_attacks_that_paint_squares_are_refused_for_volumes(settings: dict[str, Any]) -> None:
    volumes = Batch(images=torch.randn(5, 1, 4, 4, 4), labels=torch.arange(5) % 3, mean=0.5, std=0.1)
    method = build(Linear(), **settings)
    for refused in (method.measures, lambda given: method.prepare(given, torch.Generator())):
        with pytest.raises(SpecError, match="found volumes or clips"):
            refused(volumes)


def test_a_missing_package_of_auto_attack_is_noticed_before_the_first_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """And not where a stage is planned, which needs no such package."""
    monkeypatch.setitem(sys.modules, "pyautoattack", None)
    method = plain(evaluation_auto_attack=True)
    with pytest.raises(SpecError, match="pyautoattack"):
        prepared(method)


@pytest.mark.slow
def test_evaluation_measures_auto_attack_on_demand() -> None:
    """Check 17: no more than under each of the others."""
    pytest.importorskip("pyautoattack", reason="AutoAttack comes with the extra 'bench'")
    method = plain(epsilon=0.1, evaluation_square=30, evaluation_auto_attack=True).eval()
    labels = method.predict(batch().images).argmax(dim=1)
    sure = Batch(images=batch().images, labels=labels, mean=MEAN, std=STD)
    with torch.no_grad():
        measured = {name: float(values.mean()) for name, values in method.measures(sure).items()}
    assert measured["auto_attack_accuracy"] == min(measured.values())


def test_the_record_names_attacks_and_radius() -> None:
    (note,) = plain(evaluation_steps=50, evaluation_restarts=10, evaluation_square=5000).notes
    assert "a radius of 8/255" in note
    assert "FGSM with 1 step; PGD with 50 steps of a quarter of it and 10 random starts" in note
    assert "Square with 5000 queries" in note
    (note,) = plain(evaluation_steps=0, evaluation_auto_attack=True).notes
    assert note.endswith("under AutoAttack with apgd-ce, apgd-dlr, fab-t, square")
    assert plain(evaluation_steps=0).notes == ("robust accuracy is not evaluated",)


@pytest.mark.parametrize(
    "backbone",
    [
        PreActResNetConfig(width=2),
        RobustCNNConfig(width=2, depths=(1, 1), strides=(1, 2), patch_px=2, kernel_px=3),
    ],
    ids=lambda config: config.name,
)
def test_one_site_of_a_federation_trains_as_it_would_alone(backbone: Any) -> None:
    """Rounds that travel, by split and merge, and rounds that stay give the same bits."""
    phase = Phase(local=Local.model_validate({"device": "cpu", "optimizer": {"name": "sgd", "lr": 0.1}}))
    states = []
    for travels in (True, False):
        with seeded(0):
            method = build(backbone.build(image_px=8, channels=1), attack="fgsm_rs", monitor_steps=1)
        partition = Partition(manifest_of(method), method.rules())
        for round_ in range(2):
            if travels:
                load_arrays(method, partition.merge(*partition.split(arrays_of(method))))
            fit(method, OneBatch(), (phase,), round_=round_, rounds=2, seed=round_, device=torch.device("cpu"))
        states.append({name: tensor.clone() for name, tensor in method.state_dict().items()})
    assert all(torch.equal(tensor, states[1][name]) for name, tensor in states[0].items())


@pytest.mark.parametrize("attack", ["fgsm_rs", "pgd"])
def test_volumes_are_perturbed_with_one_mask_for_all_slices(attack: str) -> None:
    method = build(Linear(), attack=attack, mask_value="mean")
    volumes = Batch(images=torch.randn(5, 1, 4, 4, 4), labels=torch.arange(5) % 3, mean=0.5, std=0.1)
    given = method.prepare(volumes, torch.Generator().manual_seed(0))
    assert given.drawn["kept"].shape == (5, 1, 1, 4, 4)
    assert method.perturb(given).shape == volumes.images.shape
    assert torch.isfinite(step(method, given))
    assert {name: values.shape for name, values in method.measures(volumes).items()} == {
        "fgsm_accuracy": (5,),
        "pgd_accuracy": (5,),
    }
