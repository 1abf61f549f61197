"""Adversarial training with single-step attacks, kept from catastrophic overfitting by simple changes.

Paper: Z. Li, L. Liu, Z. Wang, Y. Zhou, C. Xie, "Bag of Tricks for FGSM Adversarial Training", 2022,
https://arxiv.org/abs/2209.02684. Its baselines are options of the same step: E. Wong, L. Rice, J. Z. Kolter, "Fast is
better than free", ICLR 2020, https://arxiv.org/abs/2001.03994; M. Andriushchenko, N. Flammarion, "Understanding and
Improving Fast Adversarial Training", NeurIPS 2020, https://arxiv.org/abs/2007.02617; P. de Jorge et al., "Make Some
Noise", NeurIPS 2022, https://arxiv.org/abs/2202.01181.

Faithful: attacks in the space of pixels in [0, 1]; batch statistics while crafting, of the batch that is then trained
on; gradients of the crafting reach no parameter; masks in training only, without rescaling.
Differs: no code was published for the tricks, so their settings are decided here; the momentum stands still where Wong
et al. let it cycle.

Letters: B batch, C channel, H height, W width, K classes, E features.
"""

import math
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from fedward_core.cards import Contract, Task
from fedward_core.errors import DataError, SpecError
from fedward_core.robustness import FGSM_ACCURACY, PGD_ACCURACY
from fedward_models.attacks.gradient import Ties, input_gradient
from fedward_models.attacks.perturbation import signed_step, uniform_starts, within_image
from fedward_models.attacks.pgd import PGD
from fedward_models.backbones.backbone import Backbone
from fedward_models.losses.first_layer import FirstLayerNorm, first_layer_penalty
from fedward_models.losses.gradient_alignment import alignment_strength, gradient_alignment_loss
from fedward_models.losses.label_losses import classification_loss
from fedward_models.method import Batch, Clock, Inheritance, Method, StepOutput, take_over
from fedward_models.methods.fgsm_at.config import FGSMATConfig
from fedward_models.methods.fgsm_at.hiding import draw_kept, with_hidden_pixels
from fedward_models.methods.fgsm_at.pixel_space import classifier_of_pixels, perturbed, pixels_of
from fedward_models.training.surroundings import mode


class FGSMAT(Method):
    """A classifier that is trained on images perturbed against it.

    Attributes:
        config: Its settings.
        head: (K, E) weights and (K,) biases.

    Raises:
        SpecError: The labels are not one class of several an image, or no layer has weights to penalise.
    """

    def __init__(self, config: FGSMATConfig, *, backbone: Backbone, contract: Contract) -> None:
        super().__init__()
        if len(contract.classes) < 2:
            raise SpecError(f"fgsm_at needs two classes to tell apart, found {len(contract.classes)}")
        if contract.task is not Task.CLASSIFICATION:
            raise SpecError(f"fgsm_at perturbs images of one class each, found the task '{contract.task}'")
        self.config, self.backbone = config, backbone
        self.num_classes = len(contract.classes)
        self.head = _head(backbone.num_features, self.num_classes)
        self._first_layer = _first_layer_name(backbone)

    def prepare(self, batch: Batch, rng: torch.Generator) -> Batch:
        """Draw what the settings need.

        ``kept``: (B, 1, H, W), the pixels that stay visible. ``start`` and ``probe``: (B, C, H, W), uniform in [-1, 1],
        for the random start and for GradAlign's second point.

        Raises:
            DataError: There are no labels, or some are not of the study's classes.
        """
        _check_classes(self._labels(batch), self.num_classes)
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
        labels = self._labels(batch)
        masked = with_hidden_pixels(self.config, batch)
        perturbation, gradient = self._craft(masked, labels)
        logits = self.logits(perturbed(masked, perturbation))
        loss = classification_loss(logits, labels).mean()
        if self._alignment:
            loss = loss + self._alignment * self._misalignment(masked, labels, gradient)
        if self.config.first_layer_penalty:
            loss = loss + self.config.first_layer_penalty * self.first_layer_penalty()
        figures = {"perturbed_accuracy": _accuracy(logits, labels)}
        if self.config.monitor_steps and clock.step == 0:
            figures |= self._watch(batch, labels)
        return StepOutput(loss=loss, figures=figures)

    def perturb(self, batch: Batch) -> Tensor:
        """What is added to the pixels of a prepared batch in training: (B, C, H, W), in units of pixels in [0, 1]."""
        return self._craft(with_hidden_pixels(self.config, batch), self._labels(batch))[0]

    def first_layer_penalty(self) -> Tensor:
        """The penalty on the first layer's weights, a scalar, without its weight in the loss."""
        weight = self.backbone.get_parameter(f"{self._first_layer}.weight")
        return first_layer_penalty(weight, FirstLayerNorm(self.config.first_layer_norm))

    def evaluation_loss(self, batch: Batch) -> Tensor:
        """The cross-entropy of each image as it is, neither masked nor perturbed: (B,)."""
        return classification_loss(self.logits(batch.images), self._labels(batch))

    def logits(self, images: Tensor) -> Tensor:
        """(B, K)."""
        logits: Tensor = self.head(self.backbone(images))
        return logits

    def predict(self, images: Tensor) -> Tensor:
        """(B, K) probabilities."""
        return self.logits(images).softmax(dim=1)

    def measures(self, batch: Batch) -> Mapping[str, Tensor]:
        """Whether each image is classified right after one step of full length, and after PGD: (B,) zeros and ones.

        The random starts are the same in every evaluation.
        """
        if not self.config.evaluation_steps:
            return {}
        return self._under_attack(
            batch,
            self._labels(batch),
            steps=self.config.evaluation_steps,
            restarts=self.config.evaluation_restarts,
        )

    @property
    def no_weight_decay(self) -> frozenset[str]:
        """What the backbone spares at fine-tuning."""
        return frozenset(f"backbone.{name}" for name in self.backbone.no_weight_decay)

    def inherit(self, state: Mapping[str, Tensor], source: Method) -> Inheritance:
        """Take the backbone over, and the head too from a stage with one of the same shape.

        What serves pooled features is new where the stage before had none.

        Raises:
            CheckpointError: Any other entry is missing or has another shape.
        """
        anew = tuple(name for name in self.state_dict() if self._starts_anew(name, source.state_dict()))
        taken = take_over(self, state, (name for name in self.state_dict() if name not in anew))
        return Inheritance(taken=taken, new=anew, dropped=tuple(name for name in state if name not in taken))

    def _starts_anew(self, name: str, known: Mapping[str, Tensor]) -> bool:
        if name.startswith("head."):
            return "head.weight" not in known or known["head.weight"].shape != self.head.weight.shape
        pooled = tuple(f"backbone.{module}." for module in self.backbone.pooled)
        return name.startswith(pooled) and name not in known

    def _craft(self, batch: Batch, labels: Tensor) -> tuple[Tensor, Tensor | None]:
        """The perturbation, and the gradient at the image itself where it was computed on the way."""
        pixels, logits_of = pixels_of(batch), classifier_of_pixels(self, batch)
        if self.config.attack == "pgd":
            pgd = PGD(radius=self.config.epsilon, step=self.config.step, steps=self.config.steps or 10)
            return self._spared(batch, pgd.attack(logits_of, pixels, labels, [torch.zeros_like(pixels)])), None
        start = batch.drawn["start"] * self.config.noise if self.config.noise else torch.zeros_like(pixels)
        if self._ties is Ties.PASS:
            start = within_image(pixels, start)
        gradient = input_gradient(logits_of, pixels + start, labels, ties=self._ties)
        radius = None if self.config.attack == "n_fgsm" else self.config.epsilon
        found = within_image(pixels, signed_step(start, gradient, step=self.config.step, radius=radius))
        return self._spared(batch, found), None if self.config.noise else gradient

    def _spared(self, batch: Batch, perturbation: Tensor) -> Tensor:
        if self.config.perturb_masked or "kept" not in batch.drawn:
            return perturbation
        return perturbation * batch.drawn["kept"]

    def _misalignment(self, batch: Batch, labels: Tensor, gradient: Tensor | None) -> Tensor:
        """As in GradAlign's code, gradients of parameters flow through the second point only, which is not clamped."""
        pixels, logits_of = pixels_of(batch), classifier_of_pixels(self, batch)
        if gradient is None:
            gradient = input_gradient(logits_of, pixels, labels, ties=self._ties)
        probe = pixels + self.config.epsilon * batch.drawn["probe"]
        with sdpa_kernel(SDPBackend.MATH):  # the only attention that can be differentiated twice
            other = input_gradient(logits_of, probe, labels, create_graph=True)
        return gradient_alignment_loss(gradient, other)

    @property
    def _ties(self) -> Ties:
        return Ties(self.config.ties)

    @property
    def _alignment(self) -> float:
        weight = self.config.grad_align
        return alignment_strength(self.config.epsilon) if weight == "published" else weight

    def _watch(self, batch: Batch, labels: Tensor) -> dict[str, Tensor]:
        measured = self._under_attack(batch, labels, steps=self.config.monitor_steps, restarts=1)
        return {name: values.mean() for name, values in measured.items()}

    def _under_attack(self, batch: Batch, labels: Tensor, *, steps: int, restarts: int) -> dict[str, Tensor]:
        radius, pixels, logits_of = self.config.epsilon, pixels_of(batch), classifier_of_pixels(self, batch)
        rng = torch.Generator().manual_seed(0)
        starts = uniform_starts(pixels, radius=radius, restarts=restarts, rng=rng)
        one, several = PGD(radius=radius, step=radius, steps=1), PGD(radius=radius, step=radius / 4, steps=steps)
        with mode(self, training=False):
            perturbations = {
                FGSM_ACCURACY: one.attack(logits_of, pixels, labels, [torch.zeros_like(pixels)]),
                PGD_ACCURACY: several.attack(logits_of, pixels, labels, starts),
            }
            with torch.no_grad():
                return {name: _right(logits_of(pixels + p), labels) for name, p in perturbations.items()}

    def _labels(self, batch: Batch) -> Tensor:
        labels = batch.labels
        if labels is None:
            raise DataError("adversarial training found no labels in the dataset: label it, or choose another method")
        if labels.is_floating_point() or labels.ndim != 1:
            raise DataError(f"adversarial training expects one class an image, found labels {tuple(labels.shape)}")
        return labels


def _check_classes(labels: Tensor, num_classes: int) -> None:
    outside = int(((labels < 0) | (labels >= num_classes)).sum())
    if outside:
        raise DataError(f"{outside} labels are outside of the {num_classes} classes: expected 0 to {num_classes - 1}")


def _uniform(images: Tensor, rng: torch.Generator) -> Tensor:
    return 2 * torch.rand(images.shape, generator=rng, dtype=images.dtype) - 1


def _right(logits: Tensor, labels: Tensor) -> Tensor:
    return (logits.argmax(dim=1) == labels).float()


def _accuracy(logits: Tensor, labels: Tensor) -> Tensor:
    return _right(logits.detach(), labels).mean()


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
