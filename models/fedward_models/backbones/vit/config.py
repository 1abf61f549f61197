"""The settings of the vision transformer."""

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from fedward_models.backbones.transformer_config import PatchTransformerConfig


class ViTConfig(PatchTransformerConfig):
    """A vision transformer (Dosovitskiy et al., ICLR 2021).

    SSL-FL trains ViT-B: width 768, depth 12, heads 12, patch_px 16. The defaults are smaller, so that a hospital
    without a large GPU can start; they are decided here.

    Attributes:
        width: E, the width of a token.
        depth: Blocks.
        heads: Attention heads of a block; 64 channels each by default, as in ViT-B.
        patch_px: Height and width of a patch; it divides the image's.
        mlp_ratio: Hidden units of a block's two-layer network over its width.
        drop_path: The rate at which the last block is skipped in supervised training; it grows linearly from 0 at the
            first block. Fine-tuning in SSL-FL takes 0.1; masked pre-training has none whatever is set here.
    """

    implementation: ClassVar[str] = "fedward_models.backbones.vit.vit:ViT"

    name: Literal["vit"] = "vit"
    drop_path: float = Field(default=0.0, ge=0, lt=1)

    @model_validator(mode="after")
    def _check_positions(self) -> Self:
        if self.width % 4:
            raise ValueError(f"width {self.width} is no multiple of 4, which the table of positions needs")
        return self
