"""Adversarial training with single-step attacks, kept from catastrophic overfitting by simple changes.

Paper: Z. Li, L. Liu, Z. Wang, Y. Zhou, C. Xie, "Bag of Tricks for FGSM Adversarial Training", 2022,
https://arxiv.org/abs/2209.02684. Its baselines are options of the same step: E. Wong, L. Rice, J. Z. Kolter, "Fast is
better than free", ICLR 2020, https://arxiv.org/abs/2001.03994; M. Andriushchenko, N. Flammarion, "Understanding and
Improving Fast Adversarial Training", NeurIPS 2020, https://arxiv.org/abs/2007.02617; P. de Jorge et al., "Make Some
Noise", NeurIPS 2022, https://arxiv.org/abs/2202.01181; A. Shafahi et al., "Adversarial Training for Free!", NeurIPS
2019, https://arxiv.org/abs/1904.12843.

Faithful: attacks in the space of pixels in [0, 1]; batch statistics while crafting, of the batch that is then trained
on; gradients of the crafting reach no parameter; masks in training only, without rescaling.
Differs: no code was published for the tricks, so their settings are decided here.

Letters: B batch, C channel, H height, W width, K classes, E features.
"""

import math
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from fedward_core.cards import Contract, Task
from fedward_core.errors import SpecError
from fedward_models.attacks.gradient import Ties, input_gradient
from fedward_models.backbones.backbone import Backbone
from fedward_models.batch import Batch
from fedward_models.inheritance import Inheritance, pooling_anew, take_over
from fedward_models.layers.norm_statistics import held_statistics
from fedward_models.losses.first_layer import FirstLayerNorm, first_layer_penalty
from fedward_models.losses.gradient_alignment import alignment_strength, gradient_alignment_loss
from fedward_models.losses.label_losses import classification_loss
from fedward_models.method import Method
from fedward_models.methods.fgsm_at.config import FGSMATConfig
from fedward_models.methods.fgsm_at.crafting import CarriedPerturbation, Crafted, craft
from fedward_models.methods.fgsm_at.hiding import check_squares, draw_kept, with_hidden_pixels
from fedward_models.methods.fgsm_at.pixel_space import classifier_of_pixels, perturbed, pixels_of
from fedward_models.methods.fgsm_at.under_attack import (
    Attack,
    check_attacks,
    description,
    evaluation_attacks,
    gradient_attacks,
    gradient_cosine,
    right,
    right_under,
)
from fedward_models.step import Clock, StepOutput
from fedward_models.training.surroundings import mode


class FGSMAT(Method):
    """A classifier that is trained on images perturbed against it.

    Attributes:
        config: Its settings.
        head: (K, E) weights and (K,) biases.

    Raises:
        SpecError: The labels are not one class of several an image, no layer has weights to penalise, or a hidden
            square covers a whole image.
    """

    spares_backbone = True

    def __init__(self, config: FGSMATConfig, *, backbone: Backbone, contract: Contract) -> None:
        super().__init__()
        if len(contract.classes) < 2:
            raise SpecError(f"fgsm_at needs two classes to tell apart, found {len(contract.classes)}")
        if contract.task is not Task.CLASSIFICATION:
            raise SpecError(f"fgsm_at perturbs images of one class each, found the task '{contract.task}'")
        if hasattr(backbone, "image_px"):  # of flat images only; others tell their size with the first batch
            check_squares(config, side_px=backbone.image_px)
        self.config, self.backbone = config, backbone
        self.num_classes = len(contract.classes)
        self.head = _head(backbone.num_features, self.num_classes)
        self._first_layer = _first_layer_name(backbone)
        self._carried = CarriedPerturbation()

    def prepare(self, batch: Batch, rng: torch.Generator) -> Batch:
        """Draw what the settings need.

        ``kept``: (B, 1, H, W), the pixels that stay visible. ``start`` and ``probe``: (B, C, H, W), uniform in [-1, 1],
        for the random start and for GradAlign's second point.

        Raises:
            DataError: There are no labels of one class an image, or some are not of the study's classes.
            SpecError: Evaluation could not attack as the settings say; said before a step is made, not after the round.
        """
        check_attacks(self.config, batch.images)
        batch.class_numbers(self.num_classes)  # refuses others before a step is made of them
        drawn = {}
        if self.config.mask_ratio:
            drawn["kept"] = draw_kept(self.config, batch, rng)
        if self.config.noise:
            drawn["start"] = _uniform(batch.images, rng)
        if self._alignment:
            drawn["probe"] = _uniform(batch.images, rng)
        drawn = {name: tensor.to(batch.images.device) for name, tensor in drawn.items()}
        return replace(batch, drawn={**batch.drawn, **drawn})

    def training_step(self, batch: Batch, clock: Clock) -> StepOutput:
        """The cross-entropy of perturbed images, with what GradAlign and the first layer's penalty add."""
        whole = self.config.norm_statistics == "whole"
        with held_statistics(self) if whole else nullcontext():
            output = self._perturbed_step(batch, clock)
        if whole:
            with torch.no_grad():
                self.logits(batch.images)
        return output

    def perturb(self, batch: Batch) -> Tensor:
        """What is added to the pixels of a prepared batch in training: (B, C, H, W), in units of pixels in [0, 1]."""
        return self._craft(with_hidden_pixels(self.config, batch), batch.needed_labels()).perturbation.detach()

    @property
    def replays(self) -> int:
        """Steps on each batch: several in free adversarial training."""
        return self.config.passes

    def before_step(self, clock: Clock) -> None:
        """Begin a round of free adversarial training without a perturbation."""
        if clock.epoch == clock.step == 0:
            self._carried.forget()

    def after_backward(self, clock: Clock) -> None:
        """Move the perturbation of free adversarial training."""
        if self.config.attack == "free":
            self._carried.move(step=self._strength(clock) * self.config.step, radius=self.config.epsilon)

    def after_step(self, clock: Clock) -> None:  # noqa: ARG002 - the signature of the family
        """Scale the first layer's weights down to their largest length, if they have one."""
        if self.config.first_layer_cap is not None:
            weight = self._first_weight()
            with torch.no_grad():
                weight.mul_((self.config.first_layer_cap / weight.norm()).clamp(max=1))

    def first_layer_penalty(self) -> Tensor:
        """The penalty on the first layer's weights, a scalar, without its weight in the loss."""
        return first_layer_penalty(self._first_weight(), FirstLayerNorm(self.config.first_layer_norm))

    def evaluation_loss(self, batch: Batch) -> Tensor:
        """The cross-entropy of each image as it is, neither masked nor perturbed: (B,)."""
        return classification_loss(self.logits(batch.images), batch.needed_labels())

    def logits(self, images: Tensor) -> Tensor:
        """(B, K)."""
        logits: Tensor = self.head(self.backbone(images))
        return logits

    def predict(self, images: Tensor) -> Tensor:
        """(B, K) probabilities."""
        return self.logits(images).softmax(dim=1)

    def measures(self, batch: Batch) -> Mapping[str, Tensor]:
        """Whether each image is classified right under each attack of the settings: (B,) zeros and ones.

        The random starts are the same in every evaluation.

        Raises:
            SpecError: An attack of the settings is for images only, and these are volumes or clips, or its package is
                not installed.
        """
        check_attacks(self.config, batch.images)
        return self._under_attack(batch, evaluation_attacks(self.config, num_classes=self.num_classes))

    @property
    def notes(self) -> tuple[str, ...]:
        """Which attacks, and which radius, stand behind the figures of evaluations."""
        return (description(self.config, num_classes=self.num_classes),)

    def inherit(self, state: Mapping[str, Tensor], source: Method) -> Inheritance:
        """Take the backbone over, and the head too from a stage with one of the same shape.

        What serves pooled features is new where the stage before had none.

        Raises:
            CheckpointError: Any other entry is missing or has another shape.
        """
        known = source.state_dict()
        new_head = "head.weight" not in known or known["head.weight"].shape != self.head.weight.shape
        pooling = pooling_anew(self, known)
        anew = {name for name in self.state_dict() if name in pooling or (name.startswith("head.") and new_head)}
        taken = take_over(self, state, (name for name in self.state_dict() if name not in anew))
        return Inheritance.of(self, state, taken=taken)

    def _perturbed_step(self, batch: Batch, clock: Clock) -> StepOutput:
        labels = batch.needed_labels()
        masked = with_hidden_pixels(self.config, batch)
        crafted = self._craft(masked, labels, strength=self._strength(clock))
        logits = self.logits(perturbed(masked, crafted.perturbation))
        loss = classification_loss(logits, labels).mean()
        if self._alignment:
            loss = loss + self._alignment * self._misalignment(masked, labels, crafted.gradient)
        if self.config.first_layer_penalty:
            loss = loss + self.config.first_layer_penalty * self.first_layer_penalty()
        figures = {"perturbed_accuracy": right(logits.detach(), labels).mean()}
        if self.config.monitor_steps and clock.step == 0:
            figures |= self._watch(batch, labels)
        return StepOutput(loss=loss, figures=figures)

    def _craft(self, batch: Batch, labels: Tensor, *, strength: float = 1.0) -> Crafted:
        pixels = pixels_of(batch)
        if self.config.attack == "free":
            crafted = Crafted(perturbation=self._carried.at(pixels, within="kept" in batch.drawn))
        else:
            logits_of, start = classifier_of_pixels(self, batch), batch.drawn.get("start")
            crafted = craft(self.config, logits_of, pixels, labels, start=start, strength=strength)
        if self.config.perturb_masked or "kept" not in batch.drawn:
            return crafted
        return replace(crafted, perturbation=crafted.perturbation * batch.drawn["kept"])

    def _strength(self, clock: Clock) -> float:
        return min(1.0, clock.position / self.config.warmup_rounds) if self.config.warmup_rounds else 1.0

    def _first_weight(self) -> nn.Parameter:
        return self.backbone.get_parameter(f"{self._first_layer}.weight")

    def _misalignment(self, batch: Batch, labels: Tensor, gradient: Tensor | None) -> Tensor:
        """As in GradAlign's code, gradients of parameters flow through the second point only, which is not clamped."""
        pixels, logits_of = pixels_of(batch), classifier_of_pixels(self, batch)
        if gradient is None:
            gradient = input_gradient(logits_of, pixels, labels, ties=Ties(self.config.ties))
        probe = pixels + self.config.epsilon * batch.drawn["probe"]
        with sdpa_kernel(SDPBackend.MATH):  # the only attention that can be differentiated twice
            other = input_gradient(logits_of, probe, labels, create_graph=True)
        return gradient_alignment_loss(gradient, other)

    @property
    def _alignment(self) -> float:
        weight = self.config.grad_align
        return alignment_strength(self.config.epsilon) if weight == "published" else weight

    def _watch(self, batch: Batch, labels: Tensor) -> dict[str, Tensor]:
        radius = self.config.epsilon
        measured = self._under_attack(batch, gradient_attacks(radius, steps=self.config.monitor_steps, restarts=1))
        with mode(self, training=False):
            cosine = gradient_cosine(classifier_of_pixels(self, batch), pixels_of(batch), labels, radius=radius)
        return {**{name: values.mean() for name, values in measured.items()}, "gradient_cosine": cosine}

    def _under_attack(self, batch: Batch, attacks: Mapping[str, Attack]) -> dict[str, Tensor]:
        with mode(self, training=False):
            return right_under(attacks, classifier_of_pixels(self, batch), pixels_of(batch), batch.needed_labels())


def _uniform(images: Tensor, rng: torch.Generator) -> Tensor:
    return 2 * torch.rand(images.shape, generator=rng, dtype=images.dtype) - 1


def _head(num_features: int, num_classes: int) -> nn.Linear:
    head = nn.Linear(num_features, num_classes)
    nn.init.normal_(head.weight, std=math.sqrt(2 / num_features))  # GradAlign's code, models.py
    nn.init.zeros_(head.bias)
    return head


def _first_layer_name(backbone: Backbone) -> str:
    layers = (nn.Conv2d, nn.Conv3d, nn.Linear)
    names = [name for name, module in backbone.named_modules() if isinstance(module, layers)]
    if not names:
        raise SpecError("fgsm_at penalises the first layer's weights, but the backbone has no layer with weights")
    return str(names[0])
