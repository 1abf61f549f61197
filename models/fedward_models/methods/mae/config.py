"""The settings of masked autoencoding."""

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from fedward_core.spec import MethodConfig
from fedward_models.data.batches.view_settings import ViewSettings


class MAEConfig(MethodConfig):
    """A masked autoencoder (He et al., CVPR 2022), as federated by SSL-FL (Yan et al., IEEE TMI 2023).

    SSL-FL decodes with width 512, 8 blocks and 16 heads beside a ViT-B. The decoder's defaults are smaller, as those of
    the backbone are; they are decided here, with the published 32 channels for each head.

    Attributes:
        mask_ratio: The part of the patches that is hidden. 0.6 is the best of SSL-FL's ablation on images with small
            lesions; natural images take 0.75.
        norm_pixels: Whether the decoder predicts each patch with its own mean and variance removed. On in every
            published script of SSL-FL.
        decoder_width: The width of a decoder's token.
        decoder_depth: Decoder blocks.
        decoder_heads: Attention heads of a decoder block.
        view: How a random view of each image is drawn; null to take images as they come.
    """

    implementation: ClassVar[str] = "fedward_models.methods.mae.mae:MAE"
    needs_labels: ClassVar[bool] = False

    name: Literal["mae"] = "mae"
    mask_ratio: float = Field(default=0.6, gt=0, lt=1)
    norm_pixels: bool = True
    decoder_width: int = Field(default=128, ge=4)
    decoder_depth: int = Field(default=2, ge=1)
    decoder_heads: int = Field(default=4, ge=1)
    view: ViewSettings | None = None

    @model_validator(mode="after")
    def _check_width(self) -> Self:
        if self.decoder_width % self.decoder_heads:
            raise ValueError(
                f"decoder_width {self.decoder_width} does not divide into {self.decoder_heads} heads: choose a "
                "multiple of 'decoder_heads'"
            )
        if self.decoder_width % 4:
            raise ValueError(
                f"decoder_width {self.decoder_width} is no multiple of 4, which the table of positions needs"
            )
        return self
