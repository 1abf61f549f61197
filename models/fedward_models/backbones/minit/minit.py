"""MINiT: a transformer reads every block of a volume by itself, and the classifier joins the scores of all blocks.

Paper: A. Singla, Q. Zhao, D. Do, Y. Zhou, K. Pohl, E. Adeli, "Multiple Instance Neuroimage Transformer", PRIME at
MICCAI 2022, https://arxiv.org/abs/2208.09567.

Faithful to singlaayush/MINIT (commit cf7006b, minit.py): a full table of embeddings for each block, scores of each
block, and one linear layer over all scores. That layer is the head of the method, so that the logit of a class is its
bias plus an exact sum over blocks. Differs: the head starts almost at zero, as for every backbone; evaluation runs
every layer unless told otherwise.

    volume -> blocks -> patches -> encoder (shared) -> norm -> scores (N of k) -> head of the method: N*k to classes

Letters: B batch, C channel, S side of a volume, N blocks, T tokens of a block, E width, k scores of a block, F
features.
"""

import torch
from torch import Tensor, nn

from fedward_models.backbones.minit.config import MINiTConfig
from fedward_models.backbones.minit.volume_transformer import VolumeTransformer, check_division
from fedward_models.layers.instance_pooling import AttentionPooling
from fedward_models.layers.transformer import transformer_blocks
from fedward_models.layers.volume_blocks import cut_cubes, flat_patches
from fedward_models.layers.volume_encoder import EPS

_SECOND_DEPTH = 2  # decided here, for the ablation with a second transformer


class MINiT(VolumeTransformer):
    """A transformer over the blocks of cubes.

    Attributes:
        config: Its settings.
        num_blocks: N.

    Raises:
        SpecError: The block does not divide the volume.
    """

    config: MINiTConfig

    def __init__(self, config: MINiTConfig, *, image_px: int, channels: int) -> None:
        check_division(image_px, config.block_px, "block_px")
        super().__init__(config, volume_px=image_px, channels=channels, cube_px=config.block_px)
        self.num_blocks = (image_px // config.block_px) ** 3
        self.block_embedding = self._block_embedding()
        self.norm = nn.LayerNorm(config.width, eps=EPS)
        self.scores = nn.Linear(config.width, config.scores) if config.scores_blocks else nn.Identity()
        self.joined = self._joined()
        width = config.scores if config.scores_blocks else config.width
        self.num_features = width * self.num_blocks if config.pooling == "linear" else width

    def forward(self, images: Tensor) -> Tensor:
        """What the classifier reads of whole volumes.

        Args:
            images: (B, C, S, S, S), float, standardised.

        Returns:
            (B, F) in full precision: N*k scores block by block, k mean scores, or a vector of E.

        Raises:
            DataError: The volumes have another shape.
        """
        scores = self.block_scores(images)
        features: Tensor = self.joined(scores)
        return features

    def block_scores(self, images: Tensor) -> Tensor:
        """The scores of each block, a function of that block alone: (B, C, S, S, S) to (B, N, k) in full precision.

        Poolings without scores have the normed vector of each block, (B, N, E).
        """
        tokens = self.encoder.encode(self.tokens(images))
        scores = self.scores(self.norm(self.standing_for(tokens)))
        return torch.unflatten(scores, 0, (images.shape[0], self.num_blocks)).to(self.norm.weight.dtype)

    def tokens(self, images: Tensor) -> Tensor:
        """What the encoder reads: (B, C, S, S, S) to (B*N, T, E), blocks of a volume one after the other."""
        self.check(images)
        blocks = cut_cubes(images, side_px=self.config.block_px).flatten(0, 1)
        tokens = self.encoder.embed(flat_patches(blocks, patch_px=self.config.patch_px))
        if self.block_embedding is None:
            return tokens
        return tokens + self.block_embedding.repeat(images.shape[0], 1, 1)

    def _block_embedding(self) -> nn.Parameter | None:
        if self.config.block_embedding == "none":
            return None
        tokens = 1 + self.encoder.shape.num_patches if self.config.block_embedding == "table" else 1
        return nn.Parameter(self.config.embedding_std * torch.randn(self.num_blocks, tokens, self.config.width))

    def _joined(self) -> nn.Module:
        width = self.config.width
        match self.config.pooling:
            case "linear":
                return nn.Flatten(1)
            case "mean":
                return _Mean()
            case "attention":
                return AttentionPooling(width, hidden=width)
            case "transformer":
                ratio = (self.config.hidden + 0.5) / width
                blocks = transformer_blocks(
                    width=width, depth=_SECOND_DEPTH, heads=self.config.heads, mlp_ratio=ratio, eps=EPS
                )
                return nn.Sequential(*blocks, _Mean(), nn.LayerNorm(width, eps=EPS))


class _Mean(nn.Module):
    def forward(self, instances: Tensor) -> Tensor:
        return instances.mean(dim=1)
