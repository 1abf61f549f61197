"""How training images are perturbed: by one step, by several, or by what is carried from step to step."""

from dataclasses import dataclass

import torch
from torch import Tensor

from fedward_models.attacks.gradient import LogitsOf, Ties, input_gradient
from fedward_models.attacks.perturbation import signed_step, within_image
from fedward_models.attacks.pgd import PGD
from fedward_models.methods.fgsm_at.config import FGSMATConfig


@dataclass(frozen=True, kw_only=True)
class Crafted:
    """What an attack found.

    Attributes:
        perturbation: (B, C, H, W), in units of pixels in [0, 1].
        gradient: The gradient at the image itself, of the same shape, where it was computed on the way.
    """

    perturbation: Tensor
    gradient: Tensor | None = None


def craft(  # noqa: PLR0913 - each by name
    config: FGSMATConfig,
    logits_of: LogitsOf,
    pixels: Tensor,
    labels: Tensor,
    *,
    start: Tensor | None,
    strength: float,
) -> Crafted:
    """Perturb a batch by the attack of the settings, other than ``free``; no gradient reaches a parameter.

    Args:
        config: The settings.
        logits_of: The classifier, in training mode.
        pixels: (B, C, H, W), in [0, 1].
        labels: (B,) class numbers.
        start: (B, C, H, W) uniform numbers in [-1, 1] for a random start; None for none.
        strength: In [0, 1], of the radius of ``pgd`` and of the step of the others.
    """
    ties = Ties(config.ties)
    if config.attack == "pgd":
        pgd = PGD(radius=strength * config.epsilon, step=config.step, steps=config.steps or 10, ties=ties)
        return Crafted(perturbation=pgd.descend(logits_of, pixels, labels, torch.zeros_like(pixels)))
    begin = torch.zeros_like(pixels) if start is None else start * config.noise
    if ties is Ties.PASS:
        begin = within_image(pixels, begin)
    gradient = input_gradient(logits_of, pixels + begin, labels, ties=ties)
    radius = None if config.attack == "n_fgsm" else config.epsilon
    moved = signed_step(begin, gradient, step=strength * config.step, radius=radius)
    return Crafted(perturbation=within_image(pixels, moved), gradient=gradient if start is None else None)


class CarriedPerturbation:
    """The perturbation of free adversarial training: the backward pass of each step also moves it for the next one.

    Paper: A. Shafahi et al., "Adversarial Training for Free!", NeurIPS 2019, https://arxiv.org/abs/1904.12843,
    algorithm 1. It is carried over to the next batch, and begins at zero in every round.
    """

    def __init__(self) -> None:
        self._pixels: Tensor | None = None
        self._leaf: Tensor | None = None
        self._carried: Tensor | None = None

    def forget(self) -> None:
        """Begin at zero again."""
        self._carried = None

    def at(self, pixels: Tensor, *, within: bool = False) -> Tensor:
        """Where it stands at a batch, with a gradient of its own for :meth:`move`.

        Args:
            pixels: (B, C, H, W), in [0, 1].
            within: Whether to cut it to the image range of these pixels. It was cut to those that it was moved at, and
                published code leaves it there; masks are drawn anew for each step, and would leave the range in each.

        Returns:
            (B, C, H, W).
        """
        carried = self._carried
        if carried is None or carried.shape != pixels.shape:
            carried = torch.zeros_like(pixels)
        elif within:
            carried = within_image(pixels, carried)
        self._pixels, self._leaf = pixels, carried.clone().requires_grad_()
        return self._leaf

    def move(self, *, step: float, radius: float) -> None:
        """Go a step along the gradient that the backward pass has left, as far as the batch's pixels allow.

        A gradient that overflowed in 16 bits, whose step the optimiser leaves out, moves no pixel either.
        """
        assert self._pixels is not None
        assert self._leaf is not None
        assert self._leaf.grad is not None
        gradient = self._leaf.grad.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)
        moved = signed_step(self._leaf.detach(), gradient, step=step, radius=radius)
        self._carried = within_image(self._pixels, moved)
