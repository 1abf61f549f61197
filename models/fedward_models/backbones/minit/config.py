"""The settings of MINiT and NiT, without torch."""

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from fedward_core.cards import DataNeed
from fedward_models.backbones.transformer_config import TransformerConfig

_SCORES = 2


class VolumeTransformerConfig(TransformerConfig):
    """What MINiT and NiT have in common; see these."""

    need: ClassVar[DataNeed] = DataNeed.VOLUME

    width: int = Field(default=256, ge=1)
    heads: int = Field(default=8, ge=1)
    hidden: int = Field(default=309, ge=1)
    patch_px: int = Field(default=4, ge=1)
    pool: Literal["class", "mean"] = "class"
    dropout: float = Field(default=0.07, ge=0, lt=1)
    embedding_dropout: float = Field(default=0.016, ge=0, lt=1)
    embedding_std: float = Field(default=1.0, gt=0)
    layer_drop: float = Field(default=0.0, ge=0, lt=1)
    skips_in_evaluation: bool = False

    @model_validator(mode="after")
    def _check_skips(self) -> Self:
        if self.skips_in_evaluation and not self.layer_drop:
            raise ValueError("skips_in_evaluation has no effect without layer_drop: set both, or neither")
        return self


class MINiTConfig(VolumeTransformerConfig):
    """The Multiple Instance Neuroimage Transformer (Singla et al., PRIME at MICCAI 2022).

    The defaults are the network of the paper with 3.6 million parameters, for cubes of 64 voxels a side.

    Attributes:
        block_px: Side of a block, which divides the volume's; 16 as published.
        patch_px: Side of a patch, which divides the block's; 4 as published.
        width: E, the width of a token; 256 as published. The released code names 512 in a key that it never reads.
        depth: Blocks of the transformer; 6 as published.
        heads: Attention heads; 8 as published.
        hidden: Hidden units of each block's two-layer network; 309 as published.
        scores: Scores of each block; as many as classes in the paper, where this number is 2.
        block_embedding: What tells a block which one it is: a ``table`` with a vector for each of its tokens as
            published, one ``vector`` for all of them, or ``none``.
        pooling: How blocks become one: ``linear`` as published, where the classifier reads the scores of all blocks and
            its logit is an exact sum over these. For ablations: the ``mean`` of scores, ``attention`` over blocks, or a
            second ``transformer`` over them.
        pool: What stands for a block: its ``class`` token as published, or the ``mean`` of all its tokens.
        dropout: Of projections and hidden units; 0.07 as released.
        embedding_dropout: Of tokens before the first block; 0.016 as released.
        embedding_std: Of class token, positions and block embeddings at the start; 1 as released. With a few hundred
            volumes 0.02 learns more readily.
        layer_drop: The rate at which each block of the transformer is skipped in training. Decided here: none, because
            strong regularisation of a random start prevents learning; 0.25 as released.
        skips_in_evaluation: Whether evaluation, too, skips the layers that the released code skips there, 1 and 5 of 6.
            Only for comparison with released weights.
    """

    implementation: ClassVar[str] = "fedward_models.backbones.minit.minit:MINiT"

    name: Literal["minit"] = "minit"
    block_px: int = Field(default=16, ge=1)
    scores: int = Field(default=_SCORES, ge=1)
    block_embedding: Literal["table", "vector", "none"] = "table"
    pooling: Literal["linear", "mean", "attention", "transformer"] = "linear"

    @property
    def scores_blocks(self) -> bool:
        """Whether each block has scores of its own."""
        return self.pooling in ("linear", "mean")

    @model_validator(mode="after")
    def _check_blocks(self) -> Self:
        if self.block_px % self.patch_px:
            raise ValueError(
                f"blocks of {self.block_px} voxels do not divide into patches of {self.patch_px}: choose a patch_px "
                "that divides block_px"
            )
        if not self.scores_blocks and self.scores != _SCORES:
            raise ValueError(f"scores has no effect with pooling '{self.pooling}': leave it out")
        return self


class NiTConfig(VolumeTransformerConfig):
    """The Neuroimage Transformer: the same transformer over the patches of the whole volume (Singla et al., 2022).

    Attributes:
        patch_px: Side of a patch, which divides the volume's; 8 as released, 16 for an ablation.
        width: E, the width of a token; 256 as for MINiT.
        depth: Blocks of the transformer; 4 as released.
        heads: Attention heads; 8 as released.
        hidden: Hidden units of each block's two-layer network; 234 as released.
        pool: What stands for the volume: the ``class`` token as published, or the ``mean`` of all tokens.
        dropout: Of projections and hidden units; 0.315 as released.
        embedding_dropout: Of tokens before the first block; 0.0862 as released.
        embedding_std: Of class token and positions at the start; 1 as released.
        layer_drop: The rate at which each block of the transformer is skipped in training; none, as released.
        skips_in_evaluation: Whether evaluation skips every (1 / layer_drop)-th block; as for MINiT.
    """

    implementation: ClassVar[str] = "fedward_models.backbones.minit.nit:NiT"

    name: Literal["nit"] = "nit"
    depth: int = Field(default=4, ge=1)
    hidden: int = Field(default=234, ge=1)
    patch_px: int = Field(default=8, ge=1)
    dropout: float = Field(default=0.315, ge=0, lt=1)
    embedding_dropout: float = Field(default=0.0862, ge=0, lt=1)
