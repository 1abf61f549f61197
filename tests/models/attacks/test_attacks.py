"""Attacks on small classifiers whose answers are known."""

import itertools
import sys
from types import ModuleType

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from fedward_core.errors import SpecError
from fedward_models.attacks.auto_attack import auto_attack, ensemble
from fedward_models.attacks.gradient import Ties, input_gradient
from fedward_models.attacks.perturbation import signed_step, uniform_starts, within_image
from fedward_models.attacks.pgd import PGD
from fedward_models.attacks.square import Square, margin

RADIUS = 0.1


def network() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        layers = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Tanh(), nn.Flatten(), nn.Linear(4 * 36, 3)
        return nn.Sequential(*layers).eval().requires_grad_(False)


def pixels(count: int = 5) -> Tensor:
    """Some of them black and some white."""
    rng = torch.Generator().manual_seed(1)
    return (1.4 * torch.rand(count, 1, 8, 8, generator=rng) - 0.2).clamp(0, 1)


def labels(count: int = 5) -> Tensor:
    return torch.arange(count) % 3


def slow_pgd(model: nn.Module, image: Tensor, label: Tensor, start: Tensor, attack: PGD) -> Tensor:
    """One image, pixel by pixel."""
    x = image.clone()
    perturbed = x + torch.minimum(torch.maximum(start, -x), 1 - x)
    for _ in range(attack.steps):
        point = perturbed.clone().requires_grad_()
        functional.cross_entropy(model(point[None]), label[None]).backward()  # type: ignore[no-untyped-call]
        assert point.grad is not None
        for place in itertools.product(*map(range, x.shape)):
            slope = float(point.grad[place])
            value = float(perturbed[place]) + attack.step * ((slope > 0) - (slope < 0))
            value = min(max(value, float(x[place]) - attack.radius), float(x[place]) + attack.radius)
            perturbed[place] = min(max(value, 0.0), 1.0)
    return perturbed - x


def test_one_step_on_a_linear_model_goes_along_the_signs_of_its_weights() -> None:
    """Check 4: logits (w x, -w x); the margin falls by twice the radius times the sum of the weights' sizes."""
    w = torch.tensor([0.5, -2.0, 1.0, -0.25]).reshape(1, 1, 2, 2)

    def logits_of(x: Tensor) -> Tensor:
        value = (w * x).sum(dim=(1, 2, 3))
        return torch.stack([value, -value], dim=1)

    grey, classes = torch.full((2, 1, 2, 2), 0.5), torch.tensor([0, 1])
    fgsm = PGD(radius=RADIUS, step=RADIUS, steps=1)
    found = fgsm.attack(logits_of, grey, classes, [torch.zeros_like(grey)])
    torch.testing.assert_close(found, RADIUS * torch.stack([-w[0].sign(), w[0].sign()]))
    fall = margin(logits_of(grey), classes) - margin(logits_of(grey + found), classes)
    torch.testing.assert_close(fall, torch.full((2,), 2 * RADIUS * float(w.abs().sum())))


@pytest.mark.parametrize("steps", [1, 4])
def test_pgd_agrees_with_its_slow_twin(steps: int) -> None:
    """Checks 8 and 10."""
    model, attack = network(), PGD(radius=RADIUS, step=0.04, steps=steps)
    start = next(uniform_starts(pixels(), radius=RADIUS, restarts=1, rng=torch.Generator().manual_seed(0)))
    found = attack.attack(model, pixels(), labels(), [start])
    expected = [slow_pgd(model, *parts, attack) for parts in zip(pixels(), labels(), start, strict=True)]
    torch.testing.assert_close(found, torch.stack(expected), atol=1e-6, rtol=0)


@given(seed=st.integers(0, 1000), radius=st.floats(0, 1), restarts=st.integers(1, 3))
def test_perturbations_stay_in_the_ball_and_in_the_image(seed: int, radius: float, restarts: int) -> None:
    """Check 5."""
    rng = torch.Generator().manual_seed(seed)
    starts = uniform_starts(pixels(), radius=radius, restarts=restarts, rng=rng)
    found = PGD(radius=radius, step=radius, steps=2).attack(network(), pixels(), labels(), starts)
    assert float(found.abs().max()) <= radius + 1e-6
    assert float((pixels() + found).min()) >= 0
    assert float((pixels() + found).max()) <= 1


def test_more_restarts_never_lower_the_loss() -> None:
    """Check 9."""
    model, attack = network(), PGD(radius=RADIUS, step=0.04, steps=3)
    starts = list(uniform_starts(pixels(), radius=RADIUS, restarts=4, rng=torch.Generator().manual_seed(2)))
    losses = [
        functional.cross_entropy(
            model(pixels() + attack.attack(model, pixels(), labels(), starts[:count])), labels(), reduction="none"
        )
        for count in range(1, 5)
    ]
    assert all(bool((more >= fewer - 1e-6).all()) for fewer, more in itertools.pairwise(losses))
    assert bool((losses[-1] > losses[0]).any())


def test_a_later_restart_wins_ties() -> None:
    """A classifier that does not look: all perturbations have the same loss."""
    constant = torch.zeros(5, 3)
    starts = [torch.full_like(pixels(), value) for value in (0.01, 0.05)]
    found = PGD(radius=RADIUS, step=0.0, steps=0).attack(lambda _: constant, pixels(), labels(), starts)
    torch.testing.assert_close(found, within_image(pixels(), starts[1]))


def test_images_that_are_misclassified_stay_where_the_setting_says_so() -> None:
    model = network()
    right = model(pixels()).argmax(dim=1)
    mixed = torch.where(torch.arange(5) % 2 == 0, right, (right + 1) % 3)
    found = PGD(radius=RADIUS, step=0.01, steps=2, skip_misclassified=True).attack(
        model, pixels(), mixed, [torch.zeros_like(pixels())]
    )
    moves = (found != 0).flatten(1).any(dim=1)
    assert moves.tolist() == [True, False, True, False, True]


@pytest.mark.parametrize(("ties", "moving"), [(Ties.ZERO, False), (Ties.HALF, True), (Ties.PASS, True)])
def test_the_rule_for_ties_says_whether_a_saturated_pixel_moves(ties: Ties, moving: bool) -> None:
    image = pixels()
    gradient = input_gradient(network(), image, labels(), ties=ties)
    saturated = (image == 0) | (image == 1)
    assert 0 < int(saturated.sum()) < saturated.numel()
    assert bool((gradient[saturated] != 0).any()) == moving
    inner = input_gradient(network(), image, labels())
    torch.testing.assert_close(gradient[~saturated], inner[~saturated])
    if ties is Ties.HALF:
        torch.testing.assert_close(gradient[saturated], inner[saturated] / 2)


@pytest.mark.parametrize("ties", [Ties.ZERO, Ties.HALF])
def test_nothing_passes_outside_of_the_image_range(ties: Ties) -> None:
    image = pixels() + 2 * (pixels() > 0.5)
    gradient = input_gradient(network(), image, labels(), ties=ties)
    assert not bool(gradient[image > 1].any())


def test_a_pixel_without_gradient_stands_still() -> None:
    assert not bool(signed_step(torch.zeros(3), torch.zeros(3), step=1.0, radius=1.0).any())


@pytest.mark.parametrize("attack", ["pgd", "square"])
def test_attacks_leave_gradients_and_statistics_of_the_network_alone(attack: str) -> None:
    """Checks 11 and 18."""
    model = network().requires_grad_(True)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    rng = torch.Generator().manual_seed(0)
    if attack == "pgd":
        PGD(radius=RADIUS, step=0.04, steps=2).attack(model, pixels(), labels(), [torch.zeros_like(pixels())])
    else:
        Square(radius=RADIUS, queries=20).attack(model, pixels(), labels(), rng)
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert not model.training


def test_square_lowers_margins_without_gradients_and_stays_in_the_ball() -> None:
    model = network()
    truth = model(pixels()).argmax(dim=1)
    found = Square(radius=RADIUS, queries=150).attack(model, pixels(), truth, torch.Generator().manual_seed(0))
    assert float(found.abs().max()) <= RADIUS + 1e-6
    assert 0 <= float((pixels() + found).min()) <= float((pixels() + found).max()) <= 1
    noise = next(uniform_starts(pixels(), radius=RADIUS, restarts=1, rng=torch.Generator().manual_seed(0)))
    after, by_chance = (margin(model(pixels() + p), truth).mean() for p in (found, within_image(pixels(), noise)))
    assert float(after) < float(by_chance) - 0.05


def test_square_goes_on_from_what_it_found_and_never_raises_a_margin() -> None:
    model = network()
    truth = model(pixels()).argmax(dim=1)
    margins = [
        margin(
            model(pixels() + Square(radius=0.02, queries=q).attack(model, pixels(), truth, torch.Generator())), truth
        ).mean()
        for q in (1, 300)
    ]
    assert float(margins[1]) < float(margins[0])


def test_margins_of_two_classes_are_differences() -> None:
    logits = torch.tensor([[1.0, 3.0], [0.5, 0.0]])
    assert margin(logits, torch.tensor([0, 0])).tolist() == [-2.0, 0.5]


@pytest.mark.parametrize(
    ("classes", "attacks", "targets"),
    [
        (2, ("apgd-ce", "square"), 1),
        (3, ("apgd-ce", "apgd-dlr", "fab-t", "square"), 2),
        (8, ("apgd-ce", "apgd-t", "fab-t", "square"), 7),
        (10, ("apgd-ce", "apgd-t", "fab-t", "square"), 9),
        (1000, ("apgd-ce", "apgd-t", "fab-t", "square"), 9),
    ],
)
def test_the_ensemble_adapts_to_few_classes(classes: int, attacks: tuple[str, ...], targets: int) -> None:
    """Check 17."""
    assert ensemble(classes).attacks == attacks
    assert ensemble(classes).targets == targets


def test_auto_attack_without_its_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyautoattack", None)
    with pytest.raises(SpecError, match="pyautoattack"):
        auto_attack(network(), pixels(), labels(), radius=RADIUS, num_classes=3)


@pytest.mark.slow
@pytest.mark.parametrize("classes", [2, 3, 4])
def test_auto_attack_leaves_no_more_than_pgd_and_leaves_global_randomness_alone(classes: int) -> None:
    """Check 17, with the package itself."""
    pytest.importorskip("pyautoattack", reason="AutoAttack comes with the extra 'bench'")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        model = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.Tanh(), nn.Linear(8, classes)).eval()
        before = torch.random.get_rng_state()
        grey, truth = pixels(12), model(pixels(12)).argmax(dim=1)
        found = auto_attack(model, grey, truth, radius=0.2, num_classes=classes)
        assert torch.equal(torch.random.get_rng_state(), before)
    assert float(found.abs().max()) <= 0.2 + 1e-6
    ours = PGD(radius=0.2, step=0.05, steps=20).attack(model, grey, truth, [torch.zeros_like(grey)])
    robust, under_pgd = (float((model(grey + p).argmax(dim=1) == truth).float().mean()) for p in (found, ours))
    assert robust <= under_pgd < 1


def test_auto_attack_hands_the_package_what_the_classes_allow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Check 17, the binary path, with a stand-in for the package."""
    asked: dict[str, object] = {}

    class Part:
        n_restarts = 5
        n_target_classes = 9

    class AutoAttack:
        def __init__(self, model: object, **settings: object) -> None:
            asked.update(settings)
            self.apgd, self.fab, self.apgd_targeted = Part(), Part(), Part()

        def run_standard_evaluation(self, images: Tensor, classes: Tensor, *, batch_size: int) -> tuple[Tensor, Tensor]:
            images.view(len(images), -1)  # as the package does, in the order of rows
            asked.update(targets=self.apgd_targeted.n_target_classes, at_once=batch_size)
            return images + 0.5, classes

    package = ModuleType("pyautoattack")
    monkeypatch.setattr(package, "AutoAttack", AutoAttack, raising=False)
    monkeypatch.setitem(sys.modules, "pyautoattack", package)
    grey = torch.full((2, 8, 8, 3), 0.25).permute(0, 3, 1, 2)  # a loader gives pixels in any order of memory
    found = auto_attack(network(), grey, labels(2), radius=RADIUS, num_classes=2)
    torch.testing.assert_close(found, torch.full_like(grey, 0.5))
    assert asked["attacks"] == ["apgd-ce", "square"]
    assert asked["targets"] == 1
    assert asked["at_once"] == len(grey)
