"""Maps of voxels for MINiT and NiT.

Decided here, as the paper released no procedure: within a block the attention that reaches its class token, times
what the block contributes to the logit, spread over the voxels of each patch.

Letters: B batch, C channel, S side, N blocks, P patches of a block, R patches along a block.
"""

import torch
from torch import Tensor, nn

from fedward_core.errors import SpecError
from fedward_models.backbones.minit.minit import MINiT
from fedward_models.backbones.minit.volume_transformer import VolumeTransformer
from fedward_models.explanations.attention import attention_rollout
from fedward_models.explanations.contributions import block_contributions, for_class
from fedward_models.layers.volume_blocks import flat_patches, join_cubes


def contribution_map(
    backbone: MINiT, head: nn.Linear, volumes: Tensor, *, chosen: int, exclusive: bool = True
) -> Tensor:
    """What each voxel speaks for or against a class.

    Args:
        backbone: In evaluation mode.
        head: The classifier on it.
        volumes: (B, C, S, S, S), standardised.
        chosen: The class.
        exclusive: As of :func:`for_class`.

    Returns:
        (B, S, S, S), signed. Over the voxels of a block it sums to the block's contribution.
    """
    weights = for_class(block_contributions(backbone, head, volumes), chosen, exclusive=exclusive)
    return _spread(backbone, _patch_relevance(backbone, volumes) * weights[:, :, None])


def attention_map(backbone: VolumeTransformer, volumes: Tensor) -> Tensor:
    """Where the class token, of each block or of the whole volume, looks: no class is asked for.

    Args:
        backbone: In evaluation mode.
        volumes: (B, C, S, S, S), standardised.

    Returns:
        (B, S, S, S), at least 0; over the voxels of a block (of the volume for NiT) it sums to 1.
    """
    return _spread(backbone, _patch_relevance(backbone, volumes))


@torch.no_grad()
def _patch_relevance(backbone: VolumeTransformer, volumes: Tensor) -> Tensor:
    """(B, N, P), each block's patches summing to 1; N is 1 for NiT."""
    if backbone.config.pool != "class":
        raise SpecError("attention maps follow the class token: train with pool 'class'")
    relevance = attention_rollout(backbone.encoder, _tokens(backbone, volumes))[:, 0, 1:]
    blocks = len(relevance) // len(volumes)
    return (relevance / relevance.sum(dim=1, keepdim=True)).reshape(len(volumes), blocks, -1)


def _tokens(backbone: VolumeTransformer, volumes: Tensor) -> Tensor:
    if isinstance(backbone, MINiT):
        return backbone.tokens(volumes)
    backbone.check(volumes)
    return backbone.encoder.embed(flat_patches(volumes, patch_px=backbone.config.patch_px))


def _spread(backbone: VolumeTransformer, patches: Tensor) -> Tensor:
    """Every voxel of a patch has its equal part: (B, N, P) to (B, S, S, S)."""
    side_px = backbone.config.patch_px
    along = round(patches.shape[2] ** (1 / 3))
    cubes = patches.reshape(*patches.shape[:2], 1, along, along, along) / side_px**3
    for axis in (3, 4, 5):
        cubes = cubes.repeat_interleave(side_px, dim=axis)
    return join_cubes(cubes)[:, 0]
