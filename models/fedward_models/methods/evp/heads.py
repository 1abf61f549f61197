"""From settings to what reads the features of a frozen backbone."""

from math import exp

import torch
from torch import nn

from fedward_core.arrays import Array, Arrays
from fedward_core.cards import Contract
from fedward_core.errors import CheckpointError, SpecError
from fedward_models.backbones.backbone import Backbone
from fedward_models.backbones.clip_vit.clip_vit import CLIPViT
from fedward_models.frozen import FrozenWeights, noted_classes, read_frozen
from fedward_models.methods.evp.config import EVPConfig
from fedward_models.methods.evp.tower import CLIP_SCALE, ClassifierHead, TextHead, load_classifier
from fedward_models.towers.clip_text import class_embeddings
from fedward_models.towers.features import Features, width_of
from fedward_models.towers.image_file import features_of_classifier

_LARGEST_LOGARITHM = 10  # a scale of 22,026; CLIP holds its own to 100


def build_head(config: EVPConfig, backbone: Backbone, contract: Contract, arrays: Arrays | None) -> nn.Module:
    """The head that the settings name.

    Args:
        config: The method's settings.
        backbone: Gives the features.
        contract: The study's classes.
        arrays: The frozen file; None where the head is part of the state.

    Raises:
        SpecError: The mapping does not fit the study or the classifier.
        CheckpointError: The file has no such head, a classifier of other classes, or embeddings of another form.
    """
    if config.head == "text":
        return _text_head(config, backbone, contract, arrays)
    source_classes = config.source_classes or len(contract.classes)
    head = ClassifierHead(
        features=width_of(backbone, features_read(config, backbone, arrays)),
        classes=source_classes,
        mapping=_checked_mapping(config, len(contract.classes), source_classes),
        inside=arrays is None,
    )
    if arrays is not None and isinstance(config.weights, FrozenWeights):
        load_classifier(head, arrays, name=config.weights.name)
        if config.mapping is None:
            _check_order(config.weights, contract)
    return head


def features_read(config: EVPConfig, backbone: Backbone, arrays: Arrays | None) -> Features:
    """What the head reads of the backbone.

    Args:
        config: The method's settings.
        backbone: Gives the features.
        arrays: The frozen file; None where the head is part of the state, which reads pooled features.
    """
    if arrays is None or config.head == "text":
        return "pooled"
    return features_of_classifier(backbone, arrays)


def _check_order(weights: FrozenWeights, contract: Contract) -> None:
    """As many classes with other names, or in another order, would pass for the study's without anybody noticing."""
    known = noted_classes(weights) or contract.classes
    if known != contract.classes:
        raise CheckpointError(
            f"the classifier of '{weights.name}' names the classes {', '.join(known)}, the study "
            f"{', '.join(contract.classes)}: give a 'mapping', one of the classifier's for each of the study's"
        )


def _checked_mapping(config: EVPConfig, classes: int, source_classes: int) -> tuple[int, ...]:
    if classes > source_classes:
        raise SpecError(
            f"the study's {classes} classes cannot be told apart by a classifier of {source_classes}: choose a network "
            "with more"
        )
    if config.mapping is None and source_classes != classes:
        raise SpecError(
            f"the classifier has {source_classes} classes and the study {classes}: give a 'mapping', one of the "
            "classifier's for each of the study's"
        )
    mapping = tuple(range(classes)) if config.mapping is None else config.mapping
    if len(mapping) != classes or max(mapping) >= source_classes:
        raise SpecError(
            f"mapping has {len(mapping)} entries up to {max(mapping)}, expected {classes} below {source_classes}: one "
            "of the classifier's classes for each of the study's"
        )
    return mapping


def _text_head(config: EVPConfig, backbone: Backbone, contract: Contract, arrays: Arrays | None) -> TextHead:
    if config.embeddings is None:
        assert arrays is not None  # the settings refuse the text of nothing
        activation = backbone.config.activation if isinstance(backbone, CLIPViT) else "quick_gelu"
        embeddings = class_embeddings(arrays, contract.classes, template=config.template, activation=activation)
        scale = arrays.get("logit_scale")
    else:
        given = read_frozen(config.embeddings)
        if "embeddings" not in given:
            raise CheckpointError(f"'{config.embeddings.name}' has no entry 'embeddings', one row for each class")
        embeddings, scale = torch.tensor(given["embeddings"]), given.get("logit_scale")
    expected = (len(contract.classes), backbone.num_features)
    if tuple(embeddings.shape) != expected:
        raise CheckpointError(
            f"the class embeddings have shape {tuple(embeddings.shape)}, expected {expected}: one row for each class, "
            "as wide as the backbone's features"
        )
    if empty := [name for name, row in zip(contract.classes, embeddings, strict=True) if not row.any()]:
        raise CheckpointError(
            f"the class embedding of '{empty[0]}' is all zeros, which has no direction: embed its text"
        )
    return TextHead(embeddings, scale=CLIP_SCALE if scale is None else _scale_of(scale))


def _scale_of(logit_scale: Array) -> float:
    """What cosines are multiplied by; a file holds its logarithm, as CLIP's do."""
    logarithms = [float(value) for value in logit_scale.flat]
    if len(logarithms) != 1 or not abs(logarithms[0]) <= _LARGEST_LOGARITHM:
        raise CheckpointError(
            "'logit_scale' is the natural logarithm of what cosines are multiplied by, 4.605 for CLIP's 100: expected "
            f"one number of at most {_LARGEST_LOGARITHM}, found {', '.join(f'{value:g}' for value in logarithms[:3])}"
        )
    return exp(logarithms[0])
