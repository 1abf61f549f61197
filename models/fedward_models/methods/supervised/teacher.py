"""The teacher of distillation: a finished classifier that every site holds as a file, read and never trained or sent.

Sources: the specification of RobustCNN's distillation, whose published recipe is not known, takes the loss of Hinton et
al. (2015) and that of DeiT (Touvron et al., ICML 2021); teacher and student see the same drawn images, as in DeiT.

Letters: B batch, C channel, H height, W width, K classes, E features.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from fedward_core.arrays import Array
from fedward_core.cards import Contract, Task
from fedward_core.errors import CheckpointError, SpecError
from fedward_models.backbones.backbone import Backbone
from fedward_models.frozen import noted_classes, read_frozen
from fedward_models.layers.frozen_module import FrozenModule
from fedward_models.losses.teacher_distillation import hard_distillation, soft_distillation
from fedward_models.methods.supervised.config import TeacherConfig
from fedward_models.towers.noted import reads_class_token, standard_of_training
from fedward_models.weights import load_arrays

_PARTS = ("backbone.", "head.")


class Teacher(nn.Module):
    """A frozen classifier, and how far a student is from it.

    Args:
        config: Which one, and how it is compared with.
        student: Gives the size of images.
        contract: The study's classes and channels.

    Raises:
        SpecError: The study has no single class for each image, or no flat images.
        CheckpointError: The file is missing, is another, holds another network, names other classes, or was trained on
            other features or pixels than it would see here.
    """

    def __init__(self, config: TeacherConfig, *, student: Backbone, contract: Contract) -> None:
        super().__init__()
        _check_study(student, contract)
        arrays = read_frozen(config.weights)
        _check_classes(config, contract)
        _check_reading(config)
        self.config = config
        self.held = FrozenModule(_network(config, arrays, image_px=student.image_px, contract=contract))

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W), standardised, to (B, K) logits in full precision."""
        logits: Tensor = self.held.network(images)
        return logits.float()

    def distances(self, logits: Tensor, images: Tensor) -> Tensor:
        """How far the student is from the teacher, of each image: (B,).

        Args:
            logits: (B, K), the student's.
            images: (B, C, H, W), what the student saw.
        """
        if self.config.form == "hard":
            return hard_distillation(logits, self(images))
        return soft_distillation(logits, self(images), temperature=self.config.temperature)


class _Classifier(nn.Module):
    """What a finished stage of ``supervised`` is made of, under the same names."""

    def __init__(self, backbone: Backbone, num_classes: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = nn.Linear(backbone.num_features, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.backbone(images))
        return logits


def _network(config: TeacherConfig, arrays: Mapping[str, Array], *, image_px: int, contract: Contract) -> _Classifier:
    network = _Classifier(config.backbone.build(image_px=image_px, channels=contract.channels), len(contract.classes))
    try:
        load_arrays(network, {name: array for name, array in arrays.items() if name.startswith(_PARTS)})
    except CheckpointError as error:
        raise CheckpointError(
            f"the frozen weights '{config.weights.name}' do not fit the teacher: {error}. Give teacher.backbone the "
            "settings of the stage that trained them, with its dataset.image_px, channels and classes"
        ) from error
    return network


def _check_study(student: Backbone, contract: Contract) -> None:
    if contract.task is not Task.CLASSIFICATION:
        raise SpecError(
            f"teacher compares classes of whole images, one for each, but the task is '{contract.task}': leave it out"
        )
    if not hasattr(student, "image_px"):
        raise SpecError("teacher reads flat images, and this backbone volumes or clips: leave it out")


def _check_classes(config: TeacherConfig, contract: Contract) -> None:
    """A class of another number would be learned without anybody noticing."""
    known = noted_classes(config.weights) or contract.classes
    if known != contract.classes:
        raise CheckpointError(
            f"the teacher '{config.weights.name}' names the classes {', '.join(known)}, the study "
            f"{', '.join(contract.classes)}: take a teacher of the same classes in the same order"
        )


def _check_reading(config: TeacherConfig) -> None:
    """It reads pooled features, and pixels by the site's standard, as the student does; others fit by their shapes."""
    if reads_class_token(config.weights):
        raise CheckpointError(
            f"the teacher '{config.weights.name}' was trained on the class token, and is read by its pooled features: "
            "take one that was trained with features: pooled"
        )
    standard = standard_of_training(config.weights)
    if standard not in {None, "site"}:
        raise CheckpointError(
            f"the teacher '{config.weights.name}' was trained on pixels of the standard '{standard}', and would see "
            "those of the site's: take one that was trained with normalisation: site"
        )
