"""How well the tokens of hidden patches are predicted.

Letters: B batch, N patches, M hidden patches of the whole batch, V tokens of the vocabulary.
"""

from torch import Tensor
from torch.nn import functional


def masked_token_losses(logits: Tensor, tokens: Tensor, hidden: Tensor) -> Tensor:
    """The cross-entropy of each hidden patch (SSL-FL, Sec. 3; BEiT, Bao et al., ICLR 2022, Eq. 2).

    Args:
        logits: (M, V), image by image, and row by row within an image.
        tokens: (B, N) true tokens.
        hidden: (B, N) booleans, M of them true; images may hide different numbers of patches.

    Returns:
        (M,).
    """
    return functional.cross_entropy(logits, tokens[hidden], reduction="none")


def mean_of_each_image(losses: Tensor, hidden: Tensor) -> Tensor:
    """The mean over each image's own hidden patches, 0 where it hides none.

    Args:
        losses: (M,), in the order of the hidden patches.
        hidden: (B, N) booleans, M of them true.

    Returns:
        (B,).
    """
    placed = losses.new_zeros(hidden.shape).masked_scatter(hidden, losses)
    return placed.sum(dim=1) / hidden.sum(dim=1).clamp(min=1)
