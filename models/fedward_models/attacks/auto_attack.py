"""AutoAttack, the field's standard measure of robustness, by the package ``pyautoattack`` of the extra ``bench``.

Paper: F. Croce, M. Hein, "Reliable evaluation of adversarial robustness with an ensemble of diverse parameter-free
attacks", ICML 2020, https://arxiv.org/abs/2003.01690. The standard version for the maximum norm: APGD on the
cross-entropy, then targeted APGD and FAB with nine classes each, then Square with 5000 queries.
"""

import importlib
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from fedward_core.errors import SpecError
from fedward_models.attacks.gradient import LogitsOf
from fedward_models.training.surroundings import own_randomness

_MOST_TARGETS = 9


@dataclass(frozen=True, kw_only=True)
class Ensemble:
    """Which attacks a number of classes allows.

    Attributes:
        attacks: Their names in the package, in order.
        targets: Classes that targeted attacks aim at.
    """

    attacks: tuple[str, ...]
    targets: int


def ensemble(num_classes: int) -> Ensemble:
    """The standard ensemble, or what of it is defined for few classes.

    Its second loss compares the three largest logits, and four where it is targeted: two classes leave the attack on
    the cross-entropy and the one without gradients.

    Args:
        num_classes: K, at least 2.
    """
    targets = min(_MOST_TARGETS, num_classes - 1)
    if num_classes < 3:
        return Ensemble(attacks=("apgd-ce", "square"), targets=targets)
    if num_classes == 3:
        return Ensemble(attacks=("apgd-ce", "apgd-dlr", "fab-t", "square"), targets=targets)
    return Ensemble(attacks=("apgd-ce", "apgd-t", "fab-t", "square"), targets=targets)


def installed_package() -> Any:
    """The package, so that its lack is noticed before a training whose evaluation needs it.

    Raises:
        SpecError: It is not installed.
    """
    try:
        return importlib.import_module("pyautoattack")
    except ImportError as error:
        raise SpecError("AutoAttack needs the package 'pyautoattack': install 'fedward[bench]'") from error


def auto_attack(  # noqa: PLR0913 - each by name
    logits_of: LogitsOf, pixels: Tensor, labels: Tensor, *, radius: float, num_classes: int, seed: int = 0
) -> Tensor:
    """The perturbation that some attack of the ensemble found, for each image.

    Args:
        logits_of: The classifier, in evaluation mode: AutoAttack needs the same answer twice.
        pixels: (B, C, H, W), in [0, 1].
        labels: (B,) class numbers.
        radius: Of the ball in the maximum norm, in units of pixels.
        num_classes: K.
        seed: Seeds the attacks' own draws.

    Returns:
        (B, C, H, W).

    Raises:
        SpecError: The package is not installed.
    """
    chosen = ensemble(num_classes)
    attack = installed_package().AutoAttack(
        logits_of,
        norm="Linf",
        eps=radius,
        seed=seed,
        version="custom",
        attacks=list(chosen.attacks),
        device=pixels.device,
    )
    attack.apgd.n_restarts = attack.fab.n_restarts = 1  # as in the standard version
    attack.apgd_targeted.n_target_classes = attack.fab.n_target_classes = chosen.targets
    with own_randomness(pixels.device):  # the package seeds what others draw from
        # The package looks at pixels in the order of their rows, in which a loader's need not lie.
        perturbed: Tensor = attack.run_standard_evaluation(pixels.contiguous(), labels, batch_size=len(pixels))[0]
    return perturbed - pixels
