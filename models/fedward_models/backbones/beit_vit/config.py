"""The settings of BEiT's vision transformer."""

from typing import ClassVar, Literal

from pydantic import Field

from fedward_models.backbones.transformer_config import PatchTransformerConfig


class BEiTViTConfig(PatchTransformerConfig):
    """A vision transformer with relative positions and scaled layers (Bao et al., BEiT, ICLR 2022).

    SSL-FL trains width 768, depth 12, heads 12, patch_px 16. The defaults are smaller, so that a hospital without a
    large GPU can start; they are decided here, as those of ``vit``.

    Attributes:
        width: E, the width of a token.
        depth: Blocks.
        heads: Attention heads of a block; 64 channels each by default, as in ViT-B.
        patch_px: Height and width of a patch; it divides the image's.
        mlp_ratio: Hidden units of a block's two-layer network over its width.
        layer_scale: What each channel of a block's two branches is multiplied by at first; trained from there. 0.1 in
            SSL-FL and in BEiT's base model.
        drop_path: The rate at which the last block is skipped in supervised training; it grows linearly from 0 at the
            first block. Fed-BEiT fine-tunes with 0.2; pre-training has a rate of its own.
    """

    implementation: ClassVar[str] = "fedward_models.backbones.beit_vit.beit_vit:BEiTViT"

    name: Literal["beit_vit"] = "beit_vit"
    layer_scale: float = Field(default=0.1, gt=0)
    drop_path: float = Field(default=0.0, ge=0, lt=1)
