"""How a classifier does under the attacks that an evaluation asks for.

All of them search the ball of the training radius; random starts are the same in every evaluation.

Letters: B batch, C channel, H height, W width, K classes.
"""

from collections.abc import Callable, Mapping
from typing import TypeAlias

import torch
from torch import Tensor

from fedward_core.errors import SpecError
from fedward_core.robustness import AUTO_ATTACK_ACCURACY, FGSM_ACCURACY, PGD_ACCURACY, SQUARE_ACCURACY
from fedward_models.attacks.auto_attack import auto_attack, ensemble, installed_package
from fedward_models.attacks.gradient import LogitsOf, input_gradient
from fedward_models.attacks.perturbation import uniform_starts
from fedward_models.attacks.pgd import PGD
from fedward_models.attacks.square import Square
from fedward_models.losses.gradient_alignment import gradient_alignment_loss
from fedward_models.methods.fgsm_at.config import FGSMATConfig

Attack: TypeAlias = Callable[[LogitsOf, Tensor, Tensor], Tensor]
"""From a classifier, (B, C, H, W) pixels in [0, 1] and (B,) labels to a perturbation of the pixels."""


def gradient_attacks(radius: float, *, steps: int, restarts: int) -> dict[str, Attack]:
    """One step of full length from the image, and PGD from random starts, by the name of the accuracy under them."""
    one, several = PGD(radius=radius, step=radius, steps=1), PGD(radius=radius, step=radius / 4, steps=steps)

    def begin(pixels: Tensor) -> list[Tensor]:
        return list(uniform_starts(pixels, radius=radius, restarts=restarts, rng=torch.Generator().manual_seed(0)))

    return {
        FGSM_ACCURACY: lambda logits_of, pixels, labels: one.attack(
            logits_of, pixels, labels, [torch.zeros_like(pixels)]
        ),
        PGD_ACCURACY: lambda logits_of, pixels, labels: several.attack(logits_of, pixels, labels, begin(pixels)),
    }


def evaluation_attacks(config: FGSMATConfig, *, num_classes: int) -> dict[str, Attack]:
    """Every attack of an evaluation, by the name of the accuracy under it.

    Args:
        config: Which, and how hard.
        num_classes: K.
    """
    radius, attacks = config.epsilon, dict[str, Attack]()
    if config.evaluation_steps:
        attacks |= gradient_attacks(radius, steps=config.evaluation_steps, restarts=config.evaluation_restarts)
    if config.evaluation_square:
        square = Square(radius=radius, queries=config.evaluation_square)
        attacks[SQUARE_ACCURACY] = lambda logits_of, pixels, labels: square.attack(
            logits_of, pixels, labels, torch.Generator().manual_seed(0)
        )
    if config.evaluation_auto_attack:
        attacks[AUTO_ATTACK_ACCURACY] = lambda logits_of, pixels, labels: auto_attack(
            logits_of, pixels, labels, radius=radius, num_classes=num_classes
        )
    return attacks


def check_attacks(config: FGSMATConfig, pixels: Tensor) -> None:
    """Make sure that an evaluation can attack as the settings say.

    Raises:
        SpecError: Pixels are not (B, C, H, W), and the settings ask for Square or for AutoAttack, which contains it; or
            the package of AutoAttack is not installed.
    """
    if pixels.ndim != 4 and (config.evaluation_square or config.evaluation_auto_attack):
        raise SpecError(
            "Square and AutoAttack attack images, found volumes or clips: set evaluation_square: 0 and "
            "evaluation_auto_attack: false"
        )
    if config.evaluation_auto_attack:
        installed_package()


def right_under(
    attacks: Mapping[str, Attack], logits_of: LogitsOf, pixels: Tensor, labels: Tensor
) -> dict[str, Tensor]:
    """Whether each image is classified right after each attack: (B,) zeros and ones."""
    found = {name: attack(logits_of, pixels, labels) for name, attack in attacks.items()}
    with torch.no_grad():
        return {name: right(logits_of(pixels + perturbation), labels) for name, perturbation in found.items()}


def right(logits: Tensor, labels: Tensor) -> Tensor:
    """Whether each image is classified right: (B, K) logits and (B,) labels to (B,) zeros and ones."""
    return (logits.argmax(dim=1) == labels).float()


def gradient_cosine(logits_of: LogitsOf, pixels: Tensor, labels: Tensor, *, radius: float) -> Tensor:
    """The mean cosine between the gradients at the image and at a random point of the ball, a scalar.

    It falls towards 0 when training overfits catastrophically (Andriushchenko and Flammarion, NeurIPS 2020, Sec. 4).
    """
    (start,) = uniform_starts(pixels, radius=radius, restarts=1, rng=torch.Generator().manual_seed(0))
    one, other = (input_gradient(logits_of, points, labels) for points in (pixels, pixels + start))
    return 1 - gradient_alignment_loss(one, other)


def description(config: FGSMATConfig, *, num_classes: int) -> str:
    """What stands behind the figures of an evaluation, for the record."""
    parts = []
    if config.evaluation_steps:
        starts = f"{config.evaluation_restarts} random start{'s' if config.evaluation_restarts > 1 else ''}"
        parts += ["FGSM with 1 step", f"PGD with {config.evaluation_steps} steps of a quarter of it and {starts}"]
    if config.evaluation_square:
        parts.append(f"Square with {config.evaluation_square} queries")
    if config.evaluation_auto_attack:
        parts.append(f"AutoAttack with {', '.join(ensemble(num_classes).attacks)}")
    if not parts:
        return "robust accuracy is not evaluated"
    grey_levels = f"{255 * config.epsilon:.4g}/255"
    return f"robust accuracy is that of all evaluated images at a radius of {grey_levels} under {'; '.join(parts)}"
