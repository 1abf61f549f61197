"""The settings of the tokenizers."""

from typing import ClassVar, Literal

from pydantic import Field

from fedward_core.config import SHA256, Config
from fedward_models.frozen import FrozenWeights


class DALLEConfig(Config):
    """The encoder of DALL-E's discrete autoencoder (Ramesh et al., ICML 2021), from which BEiT and SSL-FL take tokens.

    Attributes:
        weights: The published encoder as a safetensors file, with its digest; every site has a copy.
    """

    implementation: ClassVar[str] = "fedward_models.tokenizers.dalle:DALLE"

    name: Literal["dalle"] = "dalle"
    weights: FrozenWeights


class PatchCodebookConfig(Config):
    """A codebook of small patches of generated images, where DALL-E's weights are not at hand.

    It is a substitute: no result with it is one of the published method, and runs say so.

    Attributes:
        vocabulary: Entries of the codebook. Decided here: 256, a few for each kind of edge and texture; published
            8192.
        sha256: The digest that the codebook must have; null to take any. Sites with another than the run's
            take no part.
    """

    implementation: ClassVar[str] = "fedward_models.tokenizers.patch_codebook:PatchCodebook"

    name: Literal["patch_codebook"] = "patch_codebook"
    vocabulary: int = Field(default=256, ge=2, le=8192)
    sha256: str | None = Field(default=None, pattern=SHA256)
