"""Attention roll-out: how much each patch reaches the class token through all layers.

Paper: S. Abnar, W. Zuidema, "Quantifying Attention Flow in Transformers", ACL 2020, arXiv:2005.00928, Sec. 3.

Letters: B cubes, T tokens (class token first), M heads.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from fedward_models.layers.volume_encoder import VolumeEncoder


@torch.no_grad()
def attention_rollout(encoder: VolumeEncoder, tokens: Tensor) -> Tensor:
    """The product over layers of half the mean attention and half the identity, which stands for the residual.

    Args:
        encoder: In evaluation mode.
        tokens: (B, T, E), what it encodes.

    Returns:
        (B, T, T); every row is at least 0 and sums to 1. Row 0 tells what the class token is made of.
    """
    with _attention_of(encoder) as layers:
        encoder.encode(tokens)
    identity = torch.eye(tokens.shape[1], device=tokens.device)
    reached = identity.expand(len(tokens), -1, -1)
    for attention in layers:
        mixed = 0.5 * attention + 0.5 * identity
        reached = mixed / mixed.sum(dim=-1, keepdim=True) @ reached
    return reached


@contextmanager
def _attention_of(encoder: VolumeEncoder) -> Iterator[list[Tensor]]:
    """The mean over heads of each layer's attention, (B, T, T), as the layers run."""
    seen: list[Tensor] = []
    handles = [block.get_submodule("attn").register_forward_pre_hook(_watch(seen)) for block in encoder.blocks]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _watch(seen: list[Tensor]) -> Any:
    """Fused attention never has its weights in memory, so they are computed once more."""

    def watch(attention: Any, inputs: tuple[Tensor, ...]) -> None:
        query, key = _queries_and_keys(attention, inputs[0])
        seen.append((query @ key.transpose(-2, -1) * attention.scale).softmax(dim=-1).mean(dim=1))

    return watch


def _queries_and_keys(attention: Any, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """(B, M, T, E/M) each."""
    projection: nn.Linear = attention.qkv
    parts = projection(tokens).unflatten(-1, (3, attention.num_heads, -1)).permute(2, 0, 3, 1, 4)
    return parts[0], parts[1]
