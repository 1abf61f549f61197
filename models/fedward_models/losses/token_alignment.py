"""Words find their places in the image, and places their words: token-wise alignment with cross-attention.

    words  --attend-->  places   =  contexts of words     each word must know its own context among those of the report
    places --attend-->  words    =  contexts of places    and each place its own among those of the image

Paper: F. Wang, Y. Zhou, S. Wang, V. Vardhanabhuti, L. Yu, "Multi-Granularity Cross-modal Alignment for Generalized
Medical Visual Representation Learning" (MGCA), NeurIPS 2022, arXiv:2210.06044, Sec. 3.3.

Letters: B batch, L words, N places, D features.
"""

import torch
from torch import Tensor
from torch.nn import functional

# Far below any similarity over a temperature, yet finite, so that weight 0 times a loss is 0.
_NEVER = -1e4


def word_alignment(  # noqa: PLR0913 - each by name
    words: Tensor,
    places: Tensor,
    weights: Tensor,
    padding: Tensor,
    *,
    temperature: float,
    legacy_padding: bool = False,
) -> Tensor:
    """Every word against the contexts that the words of its report draw from the image.

    Args:
        words: (B, L, D), of length 1.
        places: (B, N, D), of length 1.
        weights: (B, L), 0 or more; they sum to 1, and are 0 in padding.
        padding: (B, L) bool.
        temperature: Divides similarities; 0.1 in MGCA.
        legacy_padding: Let padding stand among the contexts, as the released code does.

    Returns:
        (B,), of each pair by itself.
    """
    attention = (words @ places.transpose(1, 2) / temperature).softmax(dim=2)
    contexts = functional.normalize(attention @ places, dim=2)
    similarity = words @ contexts.transpose(1, 2) / temperature
    if not legacy_padding:
        similarity = similarity.masked_fill(padding[:, :, None] | padding[:, None, :], _NEVER)
    return _both_ways(similarity, weights)


def place_alignment(  # noqa: PLR0913 - each by name
    places: Tensor,
    words: Tensor,
    weights: Tensor,
    padding: Tensor,
    *,
    temperature: float,
    norm_contexts: bool,
) -> Tensor:
    """Every place against the contexts that the places of its image draw from the report.

    Args:
        places: (B, N, D), of length 1.
        words: (B, L, D), of length 1; at least one in each report.
        weights: (B, N), 0 or more; they sum to 1.
        padding: (B, L) bool; no place attends to it.
        temperature: Divides similarities; 0.1 in MGCA.
        norm_contexts: Bring contexts to length 1. In the released code for convolutional networks only.

    Returns:
        (B,), of each pair by itself.
    """
    scores = places @ words.transpose(1, 2) / temperature
    contexts = scores.masked_fill(padding[:, None, :], -torch.inf).softmax(dim=2) @ words
    if norm_contexts:
        contexts = functional.normalize(contexts, dim=2)
    return _both_ways(places @ contexts.transpose(1, 2) / temperature, weights)


@torch.no_grad()
def token_weights(importance: Tensor) -> Tensor:
    """Weights of tokens from attention: what is not 0 is clipped to its 10 % and 90 % quantiles, and sums to 1.

    Args:
        importance: (B, L), 0 or more; a row of zeros, e.g. of a report without words, keeps its zeros.
    """
    present = importance > 0
    known = importance.masked_fill(~present, torch.nan)
    low, high = (known.nanquantile(share, dim=1, keepdim=True) for share in (0.1, 0.9))
    clipped = torch.where(present, importance.clamp(min=low, max=high), 0)
    return clipped / clipped.sum(dim=1, keepdim=True).clamp(min=torch.finfo(clipped.dtype).tiny)


def _both_ways(similarity: Tensor, weights: Tensor) -> Tensor:
    """The weighted mean of the log-losses of rows and columns: (B, T, T) and (B, T) to (B,)."""
    similarity = similarity.float()  # under mixed precision too
    own = similarity.diagonal(dim1=1, dim2=2)
    losses = (similarity.logsumexp(dim=2) - own) + (similarity.logsumexp(dim=1) - own)
    return (weights * losses).sum(dim=1) / 2
