"""The published tokenizer of BEiT and SSL-FL: DALL-E's encoder, read from a local file.

    pixels in [0, 1]  --resize-->  8 x 8 for each patch  --0.8 x + 0.1-->  encoder  --argmax-->  token

Differs: SSL-FL resizes the same crop of the original file a second time, by Lanczos; here the image that the network
sees is resized, bicubically with antialiasing.
"""

import re
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from fedward_core.arrays import Arrays
from fedward_core.errors import CheckpointError, DataError, SpecError
from fedward_models.batch import Batch
from fedward_models.frozen import read_frozen
from fedward_models.layers.frozen_module import FrozenModule
from fedward_models.tokenizers.config import DALLEConfig
from fedward_models.tokenizers.dalle_encoder import PATCH_PX, DALLEEncoder
from fedward_models.tokenizers.tokenizer import Tokenizer

# Rounding of standardising and back.
_TOLERANCE = 1e-3


class DALLE(Tokenizer):
    """DALL-E's encoder.

    Attributes:
        encoder: The frozen network.

    Raises:
        CheckpointError: The file is missing, has another digest, or holds another network.
        SpecError: Images are neither grey nor of three colours.
    """

    def __init__(self, config: DALLEConfig, *, side: int, channels: int) -> None:
        super().__init__()
        if channels not in (1, 3):
            raise SpecError(f"the tokenizer 'dalle' reads grey and colour images, found {channels} channels")
        self.side = side
        self.encoder = FrozenModule(_encoder(_torch_names(read_frozen(config.weights))))
        self.vocabulary = self.encoder.network.blocks.get_submodule("output.conv").get_parameter("weight").shape[0]
        self.note = config.weights.note("tokenizer 'dalle'")

    def tokens(self, batch: Batch) -> Tensor:
        """The likeliest entry at every place; grey images are shown in three equal channels."""
        pixels = _checked(batch.images.float() * batch.std + batch.mean)
        size = (self.side * PATCH_PX, self.side * PATCH_PX)
        small = functional.interpolate(pixels, size=size, mode="bicubic", antialias=True).clamp(0, 1)
        logits: Tensor = self.encoder.network(0.8 * small.expand(-1, 3, -1, -1) + 0.1)
        return logits.argmax(dim=1).flatten(1)


def _checked(pixels: Tensor) -> Tensor:
    if bool((pixels < -_TOLERANCE).any()) or bool((pixels > 1 + _TOLERANCE).any()):
        raise DataError(
            "the tokenizer 'dalle' expected pixels from 0 to 1, found others: pass the mean and deviation by which the "
            "images were standardised, or images that were not"
        )
    return pixels


def _torch_names(arrays: Arrays) -> dict[str, Tensor]:
    """The published file calls weights ``w`` and biases ``b``."""
    names = {"w": "weight", "b": "bias"}
    return {
        re.sub(r"\.([wb])$", lambda found: f".{names[found[1]]}", name): torch.from_numpy(array).float()
        for name, array in arrays.items()
    }


def _encoder(state: Mapping[str, Tensor]) -> DALLEEncoder:
    first, last = (state.get(f"blocks.{name}.weight") for name in ("input", "output.conv"))
    if first is None or last is None:
        raise CheckpointError(
            "the file of the tokenizer 'dalle' holds another network: expected 'blocks.input.w' and "
            "'blocks.output.conv.w' of DALL-E's encoder. Convert the published encoder, not the decoder"
        )
    encoder = DALLEEncoder(width=first.shape[0], vocabulary=last.shape[0])
    try:
        encoder.load_state_dict(state)
    except RuntimeError as error:
        raise CheckpointError(f"the file of the tokenizer 'dalle' holds another network: {error}") from error
    return encoder
