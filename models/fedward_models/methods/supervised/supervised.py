"""Training with labels: a head on a backbone, for classification, multi-label classification or segmentation.

As fine-tuning it is the second stage of R. Yan, L. Qu, Q. Wei et al., "Label-Efficient Self-Supervised Federated
Learning for Tackling Data Heterogeneity in Medical Imaging" (SSL-FL), IEEE TMI 2023, https://arxiv.org/abs/2205.08576;
from scratch it is the local training of FedAvg.

Faithful to SSL-FL (rui-yan/SSL-FL, commit 69c3388, code/fed_mae): a linear head on the normed mean of the patch tokens
that starts almost at zero; everything is trained; Mixup or CutMix and smoothed labels on demand.
Differs: segmentation, multi-label classification and a teacher are additions.

Letters: B batch, C channel, H height, W width, K classes, E features, h and w a coarser grid.
"""

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from fedward_core.cards import Contract, DataKind, Task
from fedward_core.errors import SpecError, UntrainedError
from fedward_models.backbones.backbone import Backbone
from fedward_models.batch import Batch
from fedward_models.data.batches.clip_views import draw_clips, views_for_testing
from fedward_models.data.batches.views import with_view
from fedward_models.inheritance import Inheritance, pooling_anew, take_over
from fedward_models.losses.focal_dice import soft_dice
from fedward_models.losses.label_losses import classification_loss, multi_label_loss, segmentation_loss
from fedward_models.method import Method
from fedward_models.methods.supervised.config import SupervisedConfig
from fedward_models.methods.supervised.mixing import Mixing, mix
from fedward_models.methods.supervised.teacher import Teacher
from fedward_models.step import Clock, StepOutput

_HEAD_STD = 2e-5  # SSL-FL, Sec. 4


class Supervised(Method):
    """A backbone with a linear head.

    Attributes:
        config: Its settings.
        task: What the labels mean.
        head: (K, E) weights and (K,) biases; a convolution over single places for segmentation.
        teacher: The frozen teacher, outside of the state; None without one.

    Raises:
        SpecError: A setting has no effect on this task.
        CheckpointError: The teacher's weights are missing or do not fit.
    """

    spares_backbone = True

    def __init__(self, config: SupervisedConfig, *, backbone: Backbone, contract: Contract) -> None:
        super().__init__()
        _refuse_settings_without_effect(config, contract)
        self.config, self.backbone, self.task = config, backbone, contract.task
        self.num_classes = len(contract.classes)
        self.head = _head(backbone.num_features, contract)
        if config.head_init == "small":
            nn.init.trunc_normal_(self.head.weight, std=_HEAD_STD)
        # Last, so that the student begins as it would without one.
        self.teacher = Teacher(config.teacher, student=backbone, contract=contract) if config.teacher else None

    def prepare(self, batch: Batch, rng: torch.Generator) -> Batch:
        """Draw a view or a clip of each image and mix them in pairs, if the settings say so.

        Labels of mixed images are (B, K) floats.
        """
        batch = with_view(batch, self.config.view, rng)
        if self.config.clips:
            batch = replace(batch, images=draw_clips(batch.images, self.config.clips, rng))
        if not (self.config.mixup or self.config.cutmix):
            return batch
        images, labels = mix(batch.images, self._targets(batch), rng, self._mixing(batch))
        return replace(batch, images=images, labels=labels)

    def training_step(self, batch: Batch, clock: Clock) -> StepOutput:  # noqa: ARG002 - the signature of the family
        """The mean loss against the batch's labels; with a teacher both parts are also reported."""
        logits = self.logits(batch.images)
        labels = self._losses(logits, batch, label_smoothing=self.config.label_smoothing).mean()
        if self.teacher is None:
            return StepOutput(loss=labels)
        taught, weight = self.teacher.distances(logits, batch.images).mean(), self.teacher.config.weight
        figures = {"label_loss": labels.detach(), "teacher_loss": taught.detach()}
        return StepOutput(loss=(1 - weight) * labels + weight * taught, figures=figures)

    def evaluation_loss(self, batch: Batch) -> Tensor:
        """The loss of each image without smoothing or teacher, (B,)."""
        return self._losses(self.logits(batch.images), batch, label_smoothing=0.0)

    def logits(self, images: Tensor) -> Tensor:
        """(B, K), or for segmentation (B, K, H, W) or (B, K, D, H, W), interpolated linearly from the coarse map's."""
        if self.task is not Task.SEGMENTATION:
            return self._classified(self.backbone(images))
        coarse = self.head(self.backbone.feature_map(images))
        mode = "bilinear" if images.ndim == 4 else "trilinear"
        return functional.interpolate(coarse, size=images.shape[2:], mode=mode, align_corners=False)

    def predict(self, images: Tensor) -> Tensor:
        """(B, K) probabilities, or those of places as :meth:`logits`; they sum to 1 over classes but for multi-label.

        Where shorter clips are drawn from each clip, it is the mean over those of testing.
        """
        if self.config.clips:
            views = views_for_testing(images, self.config.clips)
            return torch.stack([self._probabilities(view) for view in views]).mean(dim=0)
        return self._probabilities(images)

    def check_trained(self) -> None:
        """Refuse a head that no step has moved: it gives every class the same probability.

        Users of the published code have evaluated pre-trained encoders in this way, and saw the accuracy of chance.

        Raises:
            UntrainedError: The head is as it was built.
        """
        head = self.head.get_parameter("weight").detach(), self.head.get_parameter("bias").detach()
        small = self.config.head_init == "uniform" or float(head[0].abs().max()) < 10 * _HEAD_STD
        if small and not head[1].any():
            raise UntrainedError(
                "the classifier's head was never trained, so every class would get the same probability: train a stage "
                "of supervised for a step at a rate above zero, or evaluate a checkpoint of one"
            )

    @property
    def notes(self) -> tuple[str, ...]:
        """Which teacher it is, by digest."""
        return (self.teacher.config.weights.note("teacher"),) if self.teacher else ()

    def inherit(self, state: Mapping[str, Tensor], source: Method) -> Inheritance:
        """Take the backbone over, and the head too from a supervised stage with as many classes.

        From pre-training the head is new, and so is what serves pooled features, where pre-training had none; what
        pre-training shares between layers is copied into each of them (SSL-FL, Sec. 2.2 and 4).

        Raises:
            CheckpointError: Any other entry is missing or has another shape.
        """
        anew, clones = self._new_entries(source), self._cloned_entries(source)
        copies = {name: state[shared] for name, shared in clones.items() if shared in state}
        received = take_over(self, {**state, **copies}, (name for name in self.state_dict() if name not in anew))
        used = {clones.get(name, name) for name in received}
        return Inheritance(
            taken=tuple(name for name in received if name not in clones),
            cloned=tuple(clones),
            new=anew,
            dropped=tuple(name for name in state if name not in used),
        )

    def _probabilities(self, images: Tensor) -> Tensor:
        logits = self.logits(images)
        return logits.sigmoid() if self.task is Task.MULTI_LABEL else logits.softmax(dim=1)

    def _new_entries(self, source: Method) -> tuple[str, ...]:
        keeps_head = isinstance(source, Supervised) and source.head.weight.shape == self.head.weight.shape
        pooling = pooling_anew(self, source.state_dict())
        return tuple(
            name for name in self.state_dict() if name in pooling or (name.startswith("head.") and not keeps_head)
        )

    def _cloned_entries(self, source: Method) -> dict[str, str]:
        """Own entries that the source has only as one that its layers share, with the name of that one."""
        known = source.state_dict()
        clones = {f"backbone.{own}": f"backbone.{shared}" for own, shared in self.backbone.clones.items()}
        return {own: shared for own, shared in clones.items() if own not in known and shared in known}

    def _losses(self, logits: Tensor, batch: Batch, *, label_smoothing: float) -> Tensor:
        labels = batch.needed_labels()
        if self.task is Task.MULTI_LABEL:
            return multi_label_loss(logits, labels)
        if self.task is Task.CLASSIFICATION:
            return classification_loss(logits, labels, label_smoothing=label_smoothing)
        losses = segmentation_loss(logits, labels, label_smoothing=label_smoothing)
        return losses + self.config.dice_weight * (1 - soft_dice(logits, labels)) if self.config.dice_weight else losses

    def _classified(self, features: Tensor) -> Tensor:
        """(B, E) to (B, K) in full precision, where MINiT joins its blocks; as one small layer this costs nothing."""
        with torch.autocast(features.device.type, enabled=False):
            logits: Tensor = self.head(features.to(self.head.weight.dtype))
        return logits

    def _mixing(self, batch: Batch) -> Mixing:
        columns = self.config.cutmix_box == "column"
        if columns and batch.images.ndim < 5:
            raise SpecError("cutmix_box 'column' has no effect on images, which have two axes: leave it out")
        return Mixing(
            mixup=self.config.mixup, cutmix=self.config.cutmix, parts=self.config.mixed_parts, columns=columns
        )

    def _targets(self, batch: Batch) -> Tensor:
        labels = batch.needed_labels()
        targets = labels if self.task is Task.MULTI_LABEL else functional.one_hot(labels, self.num_classes)
        return targets.to(batch.images.dtype)


def _head(num_features: int, contract: Contract) -> nn.Linear | nn.Conv2d | nn.Conv3d:
    num_classes, volumes = len(contract.classes), contract.kind is DataKind.VOLUME
    head: nn.Linear | nn.Conv2d | nn.Conv3d
    if contract.task is Task.SEGMENTATION:
        head = (nn.Conv3d if volumes else nn.Conv2d)(num_features, num_classes, 1)
    else:
        head = nn.Linear(num_features, num_classes)
    nn.init.constant_(head.get_parameter("bias"), 0)
    return head


def _refuse_settings_without_effect(config: SupervisedConfig, contract: Contract) -> None:
    task = contract.task
    if config.clips and contract.kind is not DataKind.CLIP:
        raise SpecError(f"clips draws frames, but dataset.kind is '{contract.kind}': leave it out")
    if config.clips and contract.depth is not None and contract.depth < config.clips.span:
        raise SpecError(
            f"clips needs {config.clips.span} frames, but dataset.frames is {contract.depth}: raise it, or ask for less"
        )
    if config.view and contract.kind in {DataKind.VOLUME, DataKind.CLIP}:
        raise SpecError(f"view is of flat images, and dataset.kind is '{contract.kind}': leave it out")
    if task is Task.SEGMENTATION and config.view:
        raise SpecError("view moves images and not their masks: leave it out for segmentation, or use local.augment")
    if task is Task.SEGMENTATION and (config.mixup or config.cutmix):
        raise SpecError("mixup and cutmix mix labels of whole images, not of pixels: leave them out for segmentation")
    if task is not Task.SEGMENTATION and config.dice_weight:
        raise SpecError(f"dice_weight is of masks and has no effect on the task '{task}': leave it out")
    if task is Task.MULTI_LABEL and config.label_smoothing:
        raise SpecError("label_smoothing spreads one class over all and has no meaning for multi_label: leave it out")
