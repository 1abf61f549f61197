"""A codebook of small patches: the named substitute for DALL-E's tokenizer, which needs no file.

Not published: decided here, so that Fed-BEiT can be run and tried where DALL-E's weights are not at hand. The codebook
is trained by k-means (Lloyd, IEEE Transactions on Information Theory 1982) on generated images, never on patients', in
exact arithmetic: every site makes the same one by itself, bit for bit, and its digest says so.

    standardised image  --average-->  4 x 4 for each patch  --nearest entry-->  token

Letters: B batch, N patches, V entries, D values of an entry (4 * 4 * channels).
"""

import hashlib
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from fedward_core.errors import CheckpointError
from fedward_models.batch import Batch
from fedward_models.layers.patches import patchify
from fedward_models.tokenizers.config import PatchCodebookConfig
from fedward_models.tokenizers.generated_images import DEVIATION, MIDDLE, generate_images
from fedward_models.tokenizers.tokenizer import Tokenizer

CELL_PX = 4
_IMAGES, _IMAGE_PX, _STEPS, _SEED = 64, 64, 8, 2022


class PatchCodebook(Tokenizer):
    """The nearest entry of a codebook for every patch of a standardised image.

    Attributes:
        digest: The SHA-256 of the codebook.

    Raises:
        CheckpointError: The codebook has another digest than the spec names.
    """

    def __init__(self, config: PatchCodebookConfig, *, side: int, channels: int) -> None:
        super().__init__()
        self.side, self.vocabulary = side, config.vocabulary
        entries = train_codebook(config.vocabulary, channels)
        self.digest = codebook_digest(entries)
        if config.sha256 not in (None, self.digest):
            raise CheckpointError(
                f"the tokenizer 'patch_codebook' is not the one that the spec names: expected sha256 {config.sha256}, "
                f"found {self.digest}. Correct the digest, or install the version that made it"
            )
        self.note = f"tokenizer 'patch_codebook', a substitute for the published one, sha256 {self.digest}"
        self.register_buffer("entries", torch.from_numpy(entries).float(), persistent=False)

    def tokens(self, batch: Batch) -> Tensor:
        """The nearest entries."""
        levels = (batch.images.float() * DEVIATION + MIDDLE).clamp(0, 255)
        cells = patchify(functional.adaptive_avg_pool2d(levels, self.side * CELL_PX), patch_px=CELL_PX)
        entries = self.get_buffer("entries")
        distances = entries.square().sum(dim=1) - 2 * (cells @ entries.T)
        tokens: Tensor = distances.argmin(dim=2)
        return tokens


@cache
def train_codebook(vocabulary: int, channels: int) -> NDArray[np.int64]:
    """Cluster cells of generated images by k-means; the same wherever numpy draws alike.

    Args:
        vocabulary: V.
        channels: Of the images.

    Returns:
        (V, D), levels in [0, 255].
    """
    rng = np.random.default_rng(_SEED)
    images = generate_images(_IMAGES, px=_IMAGE_PX, channels=channels, rng=rng)
    cells = patchify(torch.from_numpy(images).permute(0, 3, 1, 2), patch_px=CELL_PX).flatten(0, 1).numpy()
    entries = rng.permutation(np.unique(cells, axis=0))[:vocabulary]
    for _ in range(_STEPS):
        entries = _means(cells, _nearest(cells, entries), entries)
    return entries


def codebook_digest(entries: NDArray[np.int64]) -> str:
    """The SHA-256 of a codebook, 64 hexadecimal digits."""
    return hashlib.sha256(entries.astype("<i8").tobytes()).hexdigest()


def _nearest(cells: NDArray[np.int64], entries: NDArray[np.int64]) -> NDArray[np.int64]:
    """The nearest entry of each cell, the first of equals; whole numbers this small are exact in float64."""
    product = cells.astype(np.float64) @ entries.T.astype(np.float64)
    nearest: NDArray[np.int64] = np.argmin((entries**2).sum(axis=1) - 2 * product, axis=1)
    return nearest


def _means(cells: NDArray[np.int64], owner: NDArray[np.int64], entries: NDArray[np.int64]) -> NDArray[np.int64]:
    """The mean of each entry's cells, in whole levels; an entry without cells stays where it is."""
    counts = np.bincount(owner, minlength=len(entries))[:, None]
    sums = np.zeros_like(entries)
    np.add.at(sums, owner, cells)
    means = np.rint(sums / counts.clip(1)).astype(np.int64)
    moved: NDArray[np.int64] = np.where(counts > 0, means, entries)
    return moved
