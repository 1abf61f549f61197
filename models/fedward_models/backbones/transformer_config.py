"""What the settings of all transformers over patches have in common, without torch."""

from typing import Self

from pydantic import Field, model_validator

from fedward_core.spec import BackboneConfig


class TransformerConfig(BackboneConfig):
    """The form of a transformer over patches.

    The defaults for images are smaller than published networks, so that a hospital without a large GPU can start; they
    are decided here.

    Attributes:
        width: E, the width of a token.
        depth: Blocks.
        heads: Attention heads of a block, which divide the width.
        patch_px: Side of a patch; it divides the side of what is read.
    """

    width: int = Field(default=192, ge=1)
    depth: int = Field(default=6, ge=1)
    heads: int = Field(default=3, ge=1)
    patch_px: int = Field(default=16, ge=1)

    @model_validator(mode="after")
    def _check_heads(self) -> Self:
        if self.width % self.heads:
            raise ValueError(
                f"width {self.width} does not divide into {self.heads} heads: choose a multiple of 'heads'"
            )
        return self


class PatchTransformerConfig(TransformerConfig):
    """The form of SSL-FL's two vision transformers.

    Attributes:
        mlp_ratio: Hidden units of a block's two-layer network over its width.
    """

    mlp_ratio: float = Field(default=4.0, gt=0)
