"""What a linear head reads of a frozen backbone: one that is trained on it, or one that came with it in a file.

Letters: B batch, E features.
"""

from typing import Literal

from torch import Tensor

from fedward_core.errors import SpecError
from fedward_models.backbones.backbone import Backbone
from fedward_models.backbones.clip_vit.clip_vit import CLIPViT
from fedward_models.backbones.patch_transformer import PatchTransformer

Features = Literal["pooled", "class_token"]

NOT_POOLED_NOTE = "the head reads the class token"
"""In a plan, and so in the files of a run, which tell no settings."""


def width_of(backbone: Backbone, features: Features) -> int:
    """E.

    Raises:
        SpecError: The backbone has no class token.
    """
    if features == "pooled":
        return backbone.num_features
    if isinstance(backbone, (PatchTransformer, CLIPViT)):
        return backbone.config.width
    raise SpecError("features 'class_token' is of transformers, and this backbone has none: leave features out")


def read_features(backbone: Backbone, images: Tensor, features: Features) -> Tensor:
    """Features of whole images, (B, E)."""
    if features == "class_token" and isinstance(backbone, PatchTransformer):
        tokens: Tensor = backbone.fc_norm(backbone.encode(backbone.embed(images)))
        return tokens[:, 0]
    if features == "class_token" and isinstance(backbone, CLIPViT):
        return backbone.class_token(images)
    pooled: Tensor = backbone(images)
    return pooled
