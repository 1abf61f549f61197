"""Projected gradient descent: several signed steps, from several starts (Madry et al., ICLR 2018).

With one step from zero it is FGSM (Goodfellow et al., ICLR 2015).

As in: locuslab/fast_adversarial (commit 54f7287, CIFAR10/utils.py) and tml-epfl/understanding-fast-adv-training (commit
ceed494, utils.py): of several restarts, the perturbation with the largest loss counts for each image, and a later one
wins ties. The options tell apart where the two codes differ.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from fedward_models.attacks.gradient import LogitsOf, Ties, input_gradient
from fedward_models.attacks.perturbation import signed_step, within_image


@dataclass(frozen=True, kw_only=True)
class PGD:
    """How to attack.

    Attributes:
        radius: Of the ball in the maximum norm, in units of pixels in [0, 1].
        step: The step of every pixel; a quarter of the radius in both codes.
        steps: Steps of each restart.
        skip_misclassified: Whether an image that is misclassified already is not moved further (the first code).
        project_start: Whether a start is cut to the image range before the first gradient (the first code).
        ties: What reaches a pixel that is exactly black or white. Evaluation passes all of it in both codes, training
            in the second code what a clamp lets through.
    """

    radius: float
    step: float
    steps: int
    skip_misclassified: bool = False
    project_start: bool = True
    ties: Ties = Ties.PASS

    def attack(self, logits_of: LogitsOf, pixels: Tensor, labels: Tensor, starts: Iterable[Tensor]) -> Tensor:
        """The worst perturbation that was found for each image.

        Args:
            logits_of: The classifier.
            pixels: (B, C, H, W), in [0, 1].
            labels: (B,) class numbers.
            starts: Perturbations to start from, (B, C, H, W) each, at least one.

        Returns:
            (B, C, H, W); pixels with it added are in [0, 1].
        """
        worst = torch.zeros_like(pixels)
        losses = torch.full(labels.shape, -torch.inf, dtype=pixels.dtype, device=pixels.device)
        for start in starts:
            found = self.descend(logits_of, pixels, labels, start)
            with torch.no_grad():
                loss = functional.cross_entropy(logits_of(pixels + found), labels, reduction="none")
            worst = torch.where(_of_images(loss >= losses, like=found), found, worst)
            losses = torch.maximum(loss, losses)
        return worst

    def descend(self, logits_of: LogitsOf, pixels: Tensor, labels: Tensor, start: Tensor) -> Tensor:
        """The perturbation that all steps from one start lead to, (B, C, H, W), by one pass a step and no other.

        Args:
            logits_of: The classifier.
            pixels: (B, C, H, W), in [0, 1].
            labels: (B,) class numbers.
            start: (B, C, H, W).
        """
        perturbation = within_image(pixels, start) if self.project_start else start
        for _ in range(self.steps):
            moved = self._step(logits_of, pixels, labels, perturbation)
            if self.skip_misclassified:
                right = _correct(logits_of, pixels + perturbation, labels)
                moved = torch.where(_of_images(right, like=moved), moved, perturbation)
            perturbation = moved
        return perturbation

    def _step(self, logits_of: LogitsOf, pixels: Tensor, labels: Tensor, perturbation: Tensor) -> Tensor:
        gradient = input_gradient(logits_of, pixels + perturbation, labels, ties=self.ties)
        return within_image(pixels, signed_step(perturbation, gradient, step=self.step, radius=self.radius))


@torch.no_grad()
def _correct(logits_of: LogitsOf, pixels: Tensor, labels: Tensor) -> Tensor:
    return logits_of(pixels).argmax(dim=1) == labels


def _of_images(flags: Tensor, *, like: Tensor) -> Tensor:
    return flags.view(-1, *[1] * (like.ndim - 1))
