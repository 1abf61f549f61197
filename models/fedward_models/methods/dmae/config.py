"""The settings of distilling a masked autoencoder."""

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from fedward_core.config import Frozen
from fedward_core.spec import MethodConfig
from fedward_models.data.batches.view_settings import ViewSettings
from fedward_models.frozen import FrozenWeights


class TeacherConfig(Frozen):
    """The frozen vision transformer that is distilled; its patches are the student's.

    DMAE distils a ViT-L (width 1024, depth 24, heads 16) into a ViT-B. The defaults are smaller, as those of the
    backbone are; they are decided here, at about twice the student's width and depth.

    Attributes:
        width: E, the width of a token.
        depth: Blocks of the whole teacher; those above the last tap are neither built nor run.
        heads: Attention heads of a block.
        mlp_ratio: Hidden units of a block's two-layer network over its width.
        weights: The file with its weights. Without one, the teacher is the network of the previous stage, which every
            site then receives once, with its first order.
    """

    width: int = Field(default=384, ge=4)
    depth: int = Field(default=12, ge=1)
    heads: int = Field(default=6, ge=1)
    mlp_ratio: float = Field(default=4.0, gt=0)
    weights: FrozenWeights | None = None


class DMAEConfig(MethodConfig):
    """A masked autoencoder whose student also imitates a teacher's tokens (DMAE, Bai et al., CVPR 2023).

    DMAE decodes with width 512, 8 blocks and 16 heads beside a ViT-B; the decoder's defaults are those of ``mae``.

    Attributes:
        teacher: Who is imitated.
        mask_ratio: The part of the patches that is hidden. 0.75 is the paper's default; 0.95 and 0.98 are its studies.
        visible_count: Visible patches are counted down, as in the released code (9 of 196 at 0.95), or to the nearest
            number, as in the paper's words (10).
        norm_pixels: Whether the decoder predicts each patch with its own mean and variance removed. Off in the newest
            released script, on in the first.
        taps: Pairs of blocks, of the student and of the teacher, counted from 0, whose outputs are aligned. Empty for
            one pair at three quarters of both depths, the released choice.
        projection: From the student's width to the teacher's: one linear map, the released choice, or a two-layer
            network.
        alignment: The distance between tokens of length 1: the mean absolute or the mean squared difference.
        alignment_weight: The weight of the alignment beside the pixels; 1 in the released code.
        decoder_width: The width of a decoder's token.
        decoder_depth: Decoder blocks.
        decoder_heads: Attention heads of a decoder block.
        view: How a random view of each image is drawn; null to take images as they come.
    """

    implementation: ClassVar[str] = "fedward_models.methods.dmae.dmae:DMAE"
    needs_labels: ClassVar[bool] = False

    name: Literal["dmae"] = "dmae"
    teacher: TeacherConfig = TeacherConfig()
    mask_ratio: float = Field(default=0.75, gt=0, lt=1)
    visible_count: Literal["floor", "round"] = "floor"
    norm_pixels: bool = False
    taps: tuple[tuple[int, int], ...] = ()
    projection: Literal["linear", "mlp"] = "linear"
    alignment: Literal["l1", "l2"] = "l1"
    alignment_weight: float = Field(default=1.0, ge=0)
    decoder_width: int = Field(default=128, ge=4)
    decoder_depth: int = Field(default=2, ge=1)
    decoder_heads: int = Field(default=4, ge=1)
    view: ViewSettings | None = None

    @property
    def needs_previous(self) -> bool:
        """The teacher is the stage before, unless a file holds it."""
        return self.teacher.weights is None

    @model_validator(mode="after")
    def _check_widths(self) -> Self:
        for part, width, heads in (
            ("decoder_", self.decoder_width, self.decoder_heads),
            ("teacher.", self.teacher.width, self.teacher.heads),
        ):
            if width % heads or width % 4:
                raise ValueError(
                    f"{part}width {width} is no multiple of 4, which the table of positions needs, and of {heads}: "
                    f"choose a multiple of 4 and of '{part}heads'"
                )
        return self
