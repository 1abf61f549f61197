"""The transformer over the patches of one cube, which MINiT runs on every block and NiT on the whole volume.

Paper: A. Singla et al., "Multiple Instance Neuroimage Transformer", PRIME at MICCAI 2022, arXiv:2208.09567.

Letters: B cubes, N patches of a cube, V values of a patch, E width.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fedward_models.layers.transformer import transformer_blocks

EPS = 1e-5  # torch's default, with which the released code normalises


@dataclass(frozen=True, kw_only=True)
class EncoderShape:
    """What an encoder is made of.

    Attributes:
        num_patches: N.
        patch_values: V.
        width: E.
        depth: Blocks.
        heads: Attention heads.
        hidden: Hidden units of each block's network.
        dropout: Of projections and hidden units.
        embedding_dropout: Of tokens before the first block.
        embedding_std: Of class token and positions at the start.
        layer_drop: The rate at which a block is skipped in training.
        skips_in_evaluation: Whether evaluation skips the blocks that the released code skips.
    """

    num_patches: int
    patch_values: int
    width: int
    depth: int
    heads: int
    hidden: int
    dropout: float
    embedding_dropout: float
    embedding_std: float
    layer_drop: float
    skips_in_evaluation: bool


class VolumeEncoder(nn.Module):
    """Linear patches, a class token, learned positions, and pre-norm blocks without bias for queries, keys and values.

    Attributes:
        shape: What it is made of.
    """

    def __init__(self, shape: EncoderShape) -> None:
        super().__init__()
        self.shape = shape
        self.proj = nn.Linear(shape.patch_values, shape.width)
        self.class_token = nn.Parameter(shape.embedding_std * torch.randn(1, 1, shape.width))
        self.positions = nn.Parameter(shape.embedding_std * torch.randn(1, 1 + shape.num_patches, shape.width))
        self.dropout = nn.Dropout(shape.embedding_dropout)
        self.blocks = transformer_blocks(
            width=shape.width,
            depth=shape.depth,
            heads=shape.heads,
            # timm rounds the product with the width down
            mlp_ratio=(shape.hidden + 0.5) / shape.width,
            qkv_bias=False,
            dropout=shape.dropout,
            eps=EPS,
        )

    def embed(self, patches: Tensor) -> Tensor:
        """Tokens with their positions, class token first: (B, N, V) to (B, 1+N, E)."""
        tokens = self.proj(patches)
        return torch.cat([self.class_token.expand(tokens.shape[0], -1, -1), tokens], dim=1) + self.positions

    def encode(self, tokens: Tensor) -> Tensor:
        """Run the blocks: (B, 1+N, E) to the same shape."""
        tokens = self.dropout(tokens)
        skipped = self.skipped()
        for index, block in enumerate(self.blocks):
            if index not in skipped:
                tokens = block(tokens)
        return tokens

    def skipped(self) -> frozenset[int]:
        """The blocks that a forward pass leaves out, drawn anew at each call in training."""
        rate, depth = self.shape.layer_drop, self.shape.depth
        if not rate:
            return frozenset()
        if self.training:
            return frozenset((torch.rand(depth, device="cpu") < rate).nonzero().flatten().tolist())
        # As in: singlaayush/MINIT, commit cf7006b, minit.py: every (1/rate)-th block is skipped, from the second on.
        return frozenset(range(1, depth, int(1 / rate))) if self.shape.skips_in_evaluation else frozenset()
