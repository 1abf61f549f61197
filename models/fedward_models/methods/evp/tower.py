"""The frozen network behind a prompt: a backbone that nothing changes, and what reads its features.

    in the state (the previous stage's, as built)      outside of it (a file, known by its digest)
    backbone.held.*, head.*                            nothing: sites hold the file, and nothing of it travels

Letters: B batch, C channel, H height, W width, E features, S classes of the classifier, K classes of the study.
"""

from collections.abc import Mapping
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from fedward_core.arrays import Array
from fedward_core.errors import CheckpointError, SpecError
from fedward_models.backbones.backbone import Backbone, ChannelGroup
from fedward_models.backbones.clip_vit.clip_vit import CLIPViT
from fedward_models.layers.frozen_module import FrozenModule
from fedward_models.towers.clip_image import image_entries, is_clip
from fedward_models.weights import load_arrays

CLIP_SCALE = 100.0  # exp of the logit scale of every weight of OpenAI
_BACKBONE = "backbone."
# Decided here: a classifier as built is so sure of itself that a prompt has something to change.
_SHARPNESS = 5.0


class FrozenBackbone(Backbone):
    """A backbone in evaluation mode for ever, of which nothing is trained, cut or kept private.

    Args:
        network: The backbone.
        inside: Whether its weights are part of the state.
    """

    def __init__(self, network: Backbone, *, inside: bool) -> None:
        super().__init__()
        self.num_features, self.image_px = network.num_features, network.image_px
        self.held: nn.Module = network.eval().requires_grad_(False) if inside else FrozenModule(network)

    @property
    def network(self) -> Backbone:
        """The backbone."""
        network = self.held.network if isinstance(self.held, FrozenModule) else self.held
        assert isinstance(network, Backbone)
        return network

    def train(self, mode: bool = True) -> Self:  # noqa: ARG002 - the signature of torch
        """Stay in evaluation mode, so that no running statistic moves."""
        return super().train(False)

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) to (B, E)."""
        features: Tensor = self.network(images)
        return features

    def feature_map(self, images: Tensor) -> Tensor:
        """(B, C, H, W) to (B, E, h, w)."""
        return self.network.feature_map(images)

    def channel_groups(self) -> tuple[ChannelGroup, ...]:
        """None can be cut.

        Raises:
            SpecError: Always.
        """
        raise SpecError(
            "evp trains a prompt and no channels of a network, so there are none to divide: personalise with ditto or "
            "local_only, or leave 'personalise' out"
        )

    def layer_of(self, name: str) -> int:  # noqa: ARG002 - the signature of the family
        """No layer is trained."""
        return 0

    def num_layers(self) -> int:
        """No layer is trained."""
        return 0


class ClassifierHead(nn.Module):
    """A frozen linear classifier, of whose classes some stand for the study's.

    Args:
        features: E.
        classes: S.
        mapping: K of the S classes.
        inside: Whether its weights are part of the state.
    """

    def __init__(self, *, features: int, classes: int, mapping: tuple[int, ...], inside: bool) -> None:
        super().__init__()
        self.weight: Tensor
        self.bias: Tensor
        self.mapping: Tensor
        self.register_buffer("weight", _SHARPNESS * torch.randn(classes, features) / features**0.5, persistent=inside)
        self.register_buffer("bias", torch.zeros(classes), persistent=inside)
        self.register_buffer("mapping", torch.tensor(mapping), persistent=False)

    def answers(self, features: Tensor) -> Tensor:
        """Logits over the classifier's own classes: (B, E) to (B, S)."""
        return functional.linear(features, self.weight, self.bias)

    def forward(self, features: Tensor) -> Tensor:
        """Logits over the study's classes: (B, E) to (B, K)."""
        return self.answers(features)[:, self.mapping]


class TextHead(nn.Module):
    """The similarity of an image with the text of each class, as in CLIP.

    Args:
        embeddings: (K, E), of any length.
        scale: What cosines are multiplied by.
    """

    def __init__(self, embeddings: Tensor, *, scale: float = CLIP_SCALE) -> None:
        super().__init__()
        self.scale = scale
        self.embeddings: Tensor
        self.register_buffer("embeddings", functional.normalize(embeddings.float(), dim=1), persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        """(B, E) to (B, K), between minus and plus the scale."""
        return self.scale * functional.normalize(features, dim=1) @ self.embeddings.T


def load_backbone(backbone: Backbone, arrays: Mapping[str, Array], *, name: str) -> None:
    """Fill a backbone from a file: a published CLIP, a backbone, or a whole stage of Fedward with a backbone in it.

    Raises:
        CheckpointError: The file holds another network.
    """
    entries = _entries(backbone, arrays)
    try:
        load_arrays(backbone, entries)
    except CheckpointError as error:
        raise CheckpointError(
            f"the frozen weights '{name}' do not fit the stage's backbone: {error}. Give the backbone the form of the "
            "network in the file, with dataset.image_px of its images, or name another file"
        ) from error


def load_classifier(head: ClassifierHead, arrays: Mapping[str, Array], *, name: str) -> None:
    """Fill a classifier from a file's ``head.weight`` and ``head.bias``.

    Raises:
        CheckpointError: They are missing or of another shape.
    """
    for part, own in (("weight", head.weight), ("bias", head.bias)):
        found = arrays.get(f"head.{part}")
        if found is None or found.shape != tuple(own.shape):
            raise CheckpointError(
                f"the classifier of '{name}' does not fit: expected 'head.{part}' of shape {tuple(own.shape)}, found "
                f"{'nothing' if found is None else found.shape}. Set source_classes to its number of classes, or name "
                "a file with a classifier"
            )
        own.copy_(torch.tensor(found))


def _entries(backbone: Backbone, arrays: Mapping[str, Array]) -> dict[str, Array]:
    if isinstance(backbone, CLIPViT) and is_clip(arrays):
        return image_entries(arrays)
    if any(name.startswith(_BACKBONE) for name in arrays):
        return {name.removeprefix(_BACKBONE): a for name, a in arrays.items() if name.startswith(_BACKBONE)}
    return {name: array for name, array in arrays.items() if not name.startswith("head.")}
