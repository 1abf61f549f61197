"""The settings of CLIP's image tower."""

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from fedward_core.spec import BackboneConfig


class CLIPViTConfig(BackboneConfig):
    """The vision transformer of CLIP (Radford et al., ICML 2021).

    Published ViT-B/32: width 768, depth 12, heads 12, patch_px 32, features 512, images of 224 pixels. The defaults are
    smaller, as those of the other backbones are; they are decided here.

    Attributes:
        width: The width of a token.
        depth: Blocks.
        heads: Attention heads of a block; 64 channels each in every published tower.
        patch_px: Height and width of a patch; it divides the image's.
        features: E, the width of the space that images share with texts.
        activation: That of the blocks. Weights of OpenAI need ``quick_gelu``; those that open_clip trained mostly
            ``gelu``.
    """

    implementation: ClassVar[str] = "fedward_models.backbones.clip_vit.clip_vit:CLIPViT"

    name: Literal["clip_vit"] = "clip_vit"
    width: int = Field(default=192, ge=4)
    depth: int = Field(default=6, ge=1)
    heads: int = Field(default=3, ge=1)
    patch_px: int = Field(default=16, ge=1)
    features: int = Field(default=128, ge=1)
    activation: Literal["quick_gelu", "gelu"] = "quick_gelu"

    @model_validator(mode="after")
    def _check_width(self) -> Self:
        if self.width % self.heads:
            raise ValueError(
                f"width {self.width} does not divide into {self.heads} heads: choose a multiple of 'heads'"
            )
        return self
