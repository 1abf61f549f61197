"""Probing: a head is trained on a backbone that stays as it is, to see what the backbone knows.

    images -> standardise -> frozen backbone --.-- pooled features or class token -> linear -> classes
                                               '-- maps -> decoder -> a class for every pixel

Protocol: that of F. Wang et al., "Multi-Granularity Cross-modal Alignment for Generalized Medical Visual Representation
Learning" (MGCA), NeurIPS 2022, https://arxiv.org/abs/2210.06044, Sec. 4; the linear probe that visual prompting is
compared with (Wu et al., TMLR 2024) is the same.

Faithful to HKU-MedAI/MGCA (commit 680fe4a): the class token or pooled features before any projection, a linear map
without dropout; for masks a U-Net on the residual network and progressive upsampling on the transformer, learned by ten
times a focal loss minus the logarithm of Dice over the batch.
Differs: the backbone is in evaluation mode also under a decoder, where the released code lets running statistics move.

Letters: B batch, C channel, H height, W width, K classes.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from fedward_core.arrays import digest
from fedward_core.cards import Contract, DataKind, Task
from fedward_core.errors import SpecError
from fedward_core.partition import Role, Rule
from fedward_models.backbones.backbone import Backbone
from fedward_models.batch import Batch
from fedward_models.data.batches.views import with_view
from fedward_models.frozen import FrozenWeights, read_frozen
from fedward_models.inheritance import Inheritance, pooling_anew, take_over
from fedward_models.losses.focal_dice import focal_loss, joined, soft_dice
from fedward_models.losses.label_losses import classification_loss, multi_label_loss
from fedward_models.method import Method
from fedward_models.methods.probe.config import DecoderSettings, ProbeConfig
from fedward_models.methods.probe.mask_measures import box_precisions, dice_of_every_image
from fedward_models.methods.probe.segmenting import build_decoder, kind_of, read_maps, resized
from fedward_models.step import Clock, StepOutput
from fedward_models.towers.features import NOT_POOLED_NOTE, read_features, width_of
from fedward_models.towers.frozen_backbone import FrozenBackbone
from fedward_models.towers.image_file import load_backbone
from fedward_models.towers.standards import standard_note, standard_of, standardised
from fedward_models.weights import arrays_of


class Probe(Method):
    """A frozen backbone with a head that is trained.

    Attributes:
        config: Its settings.
        task: What the labels mean.
        backbone: Frozen; part of the state unless a file holds it.
        head: All that is trained, and all that travels.

    Raises:
        SpecError: Settings, backbone and study do not fit each other.
        CheckpointError: A file is missing, is another, or holds another network.
    """

    backbone: FrozenBackbone

    def __init__(self, config: ProbeConfig, *, backbone: Backbone, contract: Contract) -> None:
        super().__init__()
        _refuse_settings_without_effect(config, contract)
        self.config, self.task = config, contract.task
        self.head_features = config.features
        self.normalisation = standard_of(config.normalisation, backbone, channels=contract.channels)
        if isinstance(config.weights, FrozenWeights):
            load_backbone(backbone, read_frozen(config.weights), name=config.weights.name)
        self.backbone = FrozenBackbone(backbone, inside=isinstance(config.weights, str))
        self.decoder = config.decoder or DecoderSettings()
        self.head = self._build_head(contract)

    def prepare(self, batch: Batch, rng: torch.Generator) -> Batch:
        """Draw a view of each image, if the settings say so."""
        return with_view(batch, self.config.view, rng)

    def training_step(self, batch: Batch, clock: Clock) -> StepOutput:  # noqa: ARG002 - the signature of the family
        """The mean loss against the labels; Dice is that of the whole batch, as published."""
        scores, labels = self.scores(batch), batch.needed_labels()
        if self.task is not Task.SEGMENTATION:
            return StepOutput(loss=self._label_losses(scores, labels).mean())
        focal = focal_loss(scores, labels, gamma=self.decoder.focal_gamma).mean()
        dice = soft_dice(joined(scores), joined(labels), smooth=self.decoder.dice_smooth).mean()
        return StepOutput(
            loss=self.decoder.focal_weight * focal - dice.log(),
            figures={"focal": focal.detach(), "soft_dice": dice.detach()},
        )

    def evaluation_loss(self, batch: Batch) -> Tensor:
        """The loss of each image, (B,), with the Dice of that image alone."""
        scores, labels = self.scores(batch), batch.needed_labels()
        if self.task is not Task.SEGMENTATION:
            return self._label_losses(scores, labels)
        focal = focal_loss(scores, labels, gamma=self.decoder.focal_gamma)
        dice = soft_dice(scores, labels, smooth=self.decoder.dice_smooth)
        return self.decoder.focal_weight * focal - dice.log()

    @property
    def standardises(self) -> bool:
        """Where the network has a standard of its own."""
        return self.normalisation != "site"

    def predict_batch(self, batch: Batch) -> Tensor:
        """(B, K) or (B, K, H, W) probabilities; they sum to 1 over classes, except for multi-label."""
        scores = self.scores(batch)
        return scores.sigmoid() if self.task is Task.MULTI_LABEL else scores.softmax(dim=1)

    def logits(self, images: Tensor) -> Tensor:
        """(B, K) or (B, K, H, W).

        Raises:
            SpecError: The network has a standard of its own, so that standardised images say too little.
        """
        if self.standardises:
            raise SpecError(
                f"a probe with normalisation '{self.normalisation}' reads pixels: compare predictions instead"
            )
        return self.scores(Batch(images=images))

    def scores(self, batch: Batch) -> Tensor:
        """The logits of a batch, (B, K) or (B, K, H, W)."""
        network, images = self.backbone.network, self._seen(batch)
        if self.task is not Task.SEGMENTATION:
            logits: Tensor = self.head(read_features(network, images, self.config.features))
            return logits
        maps = read_maps(network, images, kind_of(self.decoder, network))
        return resized(self.head(maps), images)

    def measures(self, batch: Batch) -> Mapping[str, Tensor]:
        """For masks: Dice that counts every image, and how well boxes around predicted parts agree with true ones."""
        if self.task is not Task.SEGMENTATION:
            return {}
        probabilities, labels = self.predict_batch(batch), batch.needed_labels()
        return {
            "dice_of_every_image": dice_of_every_image(probabilities, labels),
            "box_precision": box_precisions(probabilities, labels),
        }

    def rules(self) -> tuple[Rule, ...]:
        """The head travels; a backbone in the state is sent down once and never back."""
        return (Rule(pattern=r"head\..*", role=Role.SHARED), Rule(pattern=r".*", role=Role.PRIVATE))

    @property
    def notes(self) -> tuple[str, ...]:
        """Which frozen backbone, by digest, and how the head reads it, where that is not as usual."""
        weights = self.config.weights
        token = (NOT_POOLED_NOTE,) if self.config.features == "class_token" else ()
        standard = (standard_note(self.normalisation),) if self.standardises else ()
        if isinstance(weights, FrozenWeights):
            return (weights.note("frozen backbone"), *token, *standard)
        origin = "the previous stage's" if weights == "previous" else "as built from the seed"
        return (f"frozen backbone: {origin}, digest {digest(arrays_of(self.backbone.network))}", *token, *standard)

    def inherit(self, state: Mapping[str, Tensor], source: Method) -> Inheritance:
        """Freeze the backbone of the stage before; of another probe the head is taken over too, if settings say so.

        What serves pooled features only starts as it is built where the stage before had none of it.

        Raises:
            SpecError: The backbone is a file's, and the previous stage is no probe; or what is taken over was trained
                on other features, or on pixels of another standard.
            CheckpointError: An entry is missing or has another shape.
        """
        if not isinstance(source, Probe) and not self.config.needs_previous:
            raise SpecError(
                "a probe with weights of its own has nothing to take over from another method: use start_from: scratch,"
                " or weights: previous"
            )
        whole = isinstance(source, Probe) and not self.config.new_head
        self._check_previous(source, with_head=whole)
        copies = {
            f"backbone.{own}": state[f"backbone.{theirs}"]
            for own, theirs in self.backbone.clones.items()
            if f"backbone.{own}" not in state and f"backbone.{theirs}" in state
        }
        wanted = self.state_dict() if whole else self._backbone_entries(state)
        received = take_over(self, {**state, **copies}, wanted)
        taken = tuple(name for name in received if name not in copies)
        return Inheritance.of(self, state, taken=taken, cloned=tuple(copies))

    def _check_previous(self, source: Method, *, with_head: bool) -> None:
        theirs, ours = source.normalisation, self.normalisation
        if theirs != ours:
            raise SpecError(
                f"the network of the previous stage was trained on pixels of the standard '{theirs}', and the probe "
                f"would show it those of '{ours}': set normalisation: {theirs}"
            )
        if with_head and source.head_features != self.head_features:
            raise SpecError(
                f"the head of the previous probe reads the features '{source.head_features}', this one "
                f"'{self.head_features}': make 'features' alike, or set new_head: true"
            )

    def _build_head(self, contract: Contract) -> nn.Module:
        network, classes = self.backbone.network, len(contract.classes)
        if self.task is not Task.SEGMENTATION:
            return nn.Linear(width_of(network, self.config.features), classes)
        return build_decoder(self.decoder, network, channels=contract.channels, classes=classes)

    def _backbone_entries(self, state: Mapping[str, Tensor]) -> list[str]:
        anew = pooling_anew(self, state)
        return [name for name in self.state_dict() if name.startswith("backbone.") and name not in anew]

    def _seen(self, batch: Batch) -> Tensor:
        """Images as the frozen network expects them."""
        if self.normalisation == "site":
            return batch.images
        return standardised(batch.pixels.clamp(0, 1), self.normalisation)

    def _label_losses(self, scores: Tensor, labels: Tensor) -> Tensor:
        loss = multi_label_loss if self.task is Task.MULTI_LABEL else classification_loss
        return loss(scores, labels)


def _refuse_settings_without_effect(config: ProbeConfig, contract: Contract) -> None:
    task = contract.task
    if config.view and contract.kind in {DataKind.VOLUME, DataKind.CLIP}:
        raise SpecError(f"view is of flat images, and dataset.kind is '{contract.kind}': leave it out")
    if task is not Task.SEGMENTATION and config.decoder is not None:
        raise SpecError(f"decoder makes masks and has no effect on the task '{task}': leave it out")
    if task is Task.SEGMENTATION and config.features != "pooled":
        raise SpecError("features are those of whole images and have no effect on segmentation: leave them out")
    if task is Task.SEGMENTATION and config.view:
        raise SpecError("view moves images and not their masks: leave it out for segmentation, or use local.augment")
