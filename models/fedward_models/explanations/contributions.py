"""What each block of a volume adds to the logits of MINiT: exact, because its last layer is linear.

    logit of class c = bias of c + sum over blocks j of  W[c, jk .. jk+k-1] . scores of block j

Differs: the paper shows maps without saying how they are made; this decomposition is decided here.

Letters: B batch, C channel, S side, N blocks, K classes, k scores of a block.
"""

import torch
from torch import Tensor, nn

from fedward_core.errors import SpecError
from fedward_models.backbones.minit.minit import MINiT


@torch.no_grad()
def block_contributions(backbone: MINiT, head: nn.Linear, volumes: Tensor) -> Tensor:
    """The part of each logit that comes from each block.

    Args:
        backbone: In evaluation mode, with pooling ``linear`` or ``mean``.
        head: The classifier on it.
        volumes: (B, C, S, S, S), standardised.

    Returns:
        (B, K, N); with the head's bias it sums over N to the logits.

    Raises:
        SpecError: The pooling joins blocks in another way than by a sum.
    """
    scores = backbone.block_scores(volumes)
    if backbone.config.pooling == "linear":
        weights = torch.unflatten(head.weight, 1, (backbone.num_blocks, backbone.config.scores))
        return torch.einsum("bnk,cnk->bcn", scores, weights)
    if backbone.config.pooling == "mean":
        return torch.einsum("bnk,ck->bcn", scores, head.weight) / backbone.num_blocks
    raise SpecError(
        f"pooling '{backbone.config.pooling}' is no sum over blocks, so that they have no exact contributions: train "
        "with pooling 'linear' or 'mean'"
    )


def for_class(contributions: Tensor, chosen: int, *, exclusive: bool = True) -> Tensor:
    """What speaks for one class: of two that exclude each other, its contributions less those of the other.

    Args:
        contributions: (B, K, N).
        chosen: The class.
        exclusive: Whether an image has one class; findings of several labels do not speak against each other.

    Returns:
        (B, N).
    """
    if exclusive and contributions.shape[1] == 2:
        return contributions[:, chosen] - contributions[:, 1 - chosen]
    return contributions[:, chosen]
