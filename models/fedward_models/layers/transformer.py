"""Transformer blocks: those of timm, with one kind of norm, one kind of attention and one initialisation.

Importing timm takes seconds, so only what builds a transformer imports this module.
"""

from functools import partial
from typing import Any

import torch
from timm.models.vision_transformer import Block
from torch import nn

# LayerNorm's 1e-6 is that of ViT, MAE and SSL-FL; torch's own default of 1e-5 moves results visibly.
layer_norm = partial(nn.LayerNorm, eps=1e-6)


def transformer_blocks(  # noqa: PLR0913 - what papers vary, each by name
    *,
    width: int,
    depth: int,
    heads: int,
    mlp_ratio: float = 4.0,
    drop_path: float = 0.0,
    qkv_bias: bool = True,
    dropout: float = 0.0,
    eps: float = 1e-6,
) -> nn.ModuleList:
    """Pre-norm blocks with the exact GELU and, by default, biases everywhere.

    Args:
        width: E.
        depth: How many.
        heads: Attention heads; they divide the width.
        mlp_ratio: Hidden units over the width.
        drop_path: The rate of the last block; rates rise linearly from 0 at the first.
        qkv_bias: Whether queries, keys and values have a bias.
        dropout: Of both projections and the hidden units; attention weights have none.
        eps: Of the norms.
    """
    norm: Any = partial(nn.LayerNorm, eps=eps)  # timm calls it with a width, whatever its annotation says
    block = partial(
        Block,
        width,
        heads,
        mlp_ratio=mlp_ratio,
        qkv_bias=qkv_bias,
        proj_drop=dropout,
        norm_layer=norm,
    )
    rates = torch.linspace(0, drop_path, depth, device="cpu").tolist()
    return nn.ModuleList(_fused(block(drop_path=rate)) for rate in rates)


def initialise(module: nn.Module) -> None:
    """Xavier-uniform weights and zero biases for linear maps, and for patch kernels as for linear maps (SSL-FL).

    For use with ``Module.apply``; norms keep 1 and 0.
    """
    if isinstance(module, nn.Linear | nn.Conv2d):
        nn.init.xavier_uniform_(module.weight.flatten(1))
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def _fused(block: Block) -> Block:
    attention: Any = block.attn
    attention.fused_attn = True  # timm reads this from the environment, which must never change results
    return block
