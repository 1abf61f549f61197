"""The settings of CLIP's image tower."""

from typing import ClassVar, Literal

from pydantic import Field

from fedward_models.backbones.transformer_config import TransformerConfig


class CLIPViTConfig(TransformerConfig):
    """The vision transformer of CLIP (Radford et al., ICML 2021).

    Published ViT-B/32: width 768, depth 12, heads 12, patch_px 32, features 512, images of 224 pixels. The defaults are
    smaller, as those of the other backbones are; they are decided here.

    Attributes:
        width: The width of a token.
        depth: Blocks.
        heads: Attention heads of a block; 64 channels each in every transformer of OpenAI, up to 104 in the largest of
            open_clip. A file does not tell, and another number gives other features.
        patch_px: Height and width of a patch; it divides the image's.
        features: E, the width of the space that images share with texts.
        activation: That of the blocks. Weights of OpenAI need ``quick_gelu``; those that open_clip trained mostly
            ``gelu``.
    """

    implementation: ClassVar[str] = "fedward_models.backbones.clip_vit.clip_vit:CLIPViT"

    name: Literal["clip_vit"] = "clip_vit"
    features: int = Field(default=128, ge=1)
    activation: Literal["quick_gelu", "gelu"] = "quick_gelu"
