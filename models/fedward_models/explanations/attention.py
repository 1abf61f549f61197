"""Attention roll-out: how much each patch reaches the class token through all layers.

Paper: S. Abnar, W. Zuidema, "Quantifying Attention Flow in Transformers", ACL 2020, arXiv:2005.00928, Sec. 3.

Letters: B cubes, T tokens (class token first).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from fedward_models.layers.attention_weights import attention_weights
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


def _watch(seen: list[Tensor]) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
    def watch(attention: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        seen.append(attention_weights(attention, inputs[0]).mean(dim=1))

    return watch
