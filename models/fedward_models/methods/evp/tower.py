"""What reads the features of the frozen backbone behind a prompt, and is frozen too.

Letters: B batch, E features, S classes of the classifier, K classes of the study.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from fedward_core.arrays import Array
from fedward_core.errors import CheckpointError

CLIP_SCALE = 100.0  # exp of the logit scale of every weight of OpenAI
# Decided here: a classifier as built is so sure of itself that a prompt has something to change.
_SHARPNESS = 5.0


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


def load_classifier(head: ClassifierHead, arrays: Mapping[str, Array], *, name: str) -> None:
    """Fill a classifier from a file's ``head.weight`` and ``head.bias``, or torchvision's ``fc``.

    Raises:
        CheckpointError: They are missing or of another shape.
    """
    for part, own in (("weight", head.weight), ("bias", head.bias)):
        found = arrays.get(f"head.{part}", arrays.get(f"fc.{part}"))
        if found is None or found.shape != tuple(own.shape):
            raise CheckpointError(
                f"the classifier of '{name}' does not fit: expected 'head.{part}' of shape {tuple(own.shape)}, found "
                f"{'nothing' if found is None else found.shape}. Set source_classes to its number of classes, or name "
                "a file with a classifier"
            )
        own.copy_(torch.tensor(found))
