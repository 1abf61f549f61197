"""The settings of text towers, without torch."""

from typing import Self

from pydantic import Field, model_validator

from fedward_core.config import Frozen
from fedward_models.frozen import FrozenWeights
from fedward_models.towers.vocabulary import VocabularyFile


class TextTowerConfig(Frozen):
    """BERT (Devlin et al., NAACL 2019) over cleaned reports.

    MGCA takes the first 6 layers of Bio_ClinicalBERT, of width 768 with 12 heads and 3072 hidden units, and 112 tokens.
    The smaller defaults are decided here, as those of the backbones are: they can be trained from scratch.

    Attributes:
        width: E.
        depth: Layers; of weights that have more, the first.
        heads: Attention heads; they divide the width. Beside ``weights`` they must be named, as no file tells them.
        mlp_ratio: Hidden units over the width.
        dropout: Of states and of attention. 0.1 in BERT and in MGCA.
        max_tokens: T, the first and the last piece counted; a longer report loses its end. 112 in MGCA.
        vocabulary: A file of word pieces; null for the built-in ones.
        weights: A BERT checkpoint to start from; null to start at random.
        legacy_positions: Every token at position 0, as in the released MGCA, for its checkpoints only.
        legacy_words: Words paired with their neighbours' attention, as there.
    """

    width: int = Field(default=64, ge=4)
    depth: int = Field(default=2, ge=1)
    heads: int = Field(default=4, ge=1)
    mlp_ratio: float = Field(default=4.0, gt=0)
    dropout: float = Field(default=0.1, ge=0, lt=1)
    max_tokens: int = Field(default=112, ge=4, le=512)
    vocabulary: VocabularyFile | None = None
    weights: FrozenWeights | None = None
    legacy_positions: bool = False
    legacy_words: bool = False

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.width % self.heads:
            raise ValueError(
                f"width {self.width} does not divide into {self.heads} heads: choose a multiple of 'heads'"
            )
        if self.weights and "heads" not in self.model_fields_set:
            raise ValueError(
                "weights do not tell their number of heads, and another one gives other features without an error: set "
                "'heads' to theirs, which is 12 for BERT-base and mostly width / 64"
            )
        if self.weights and not self.vocabulary:
            raise ValueError("weights need the vocabulary that they were trained with: name its file in 'vocabulary'")
        return self
