"""From the states of word pieces to those of words.

Letters: B batch, T tokens, L = T - 1 word slots, E features.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Words:
    """What a text tower gives; all that alignment needs of it.

    Attributes:
        report: (B, E), of the whole text.
        words: (B, L, E), of each word; zeros in padding.
        importance: (B, L), how much of the text's meaning a word carries, 0 or more; 0 in padding. Without gradient.
        padding: (B, L) bool.
    """

    report: Tensor
    words: Tensor
    importance: Tensor
    padding: Tensor


def join_pieces(states: Tensor, attention: Tensor, word_of: Tensor, *, legacy: bool = False) -> Words:
    """Sum pieces into words; the last piece of a text, which marks its end, counts as a word.

    Args:
        states: (B, T, E), the first piece's state stands for the text.
        attention: (B, T), from the first piece to each piece.
        word_of: (B, T), the word of each piece, 0 for the first; -1 for padding.
        legacy: As the released code pairs them: a piece gets the attention of the piece that follows it, and a text
            that fills all positions loses its last word and its end.
    """
    if legacy:
        attention, word_of = _shifted(attention), _without_end(word_of)
    summed = _sum_by_word(states, word_of)
    importance = _sum_by_word(attention[..., None], word_of)[..., 0]
    present = torch.arange(word_of.shape[1], device=word_of.device) <= word_of.max(dim=1, keepdim=True).values
    return Words(
        report=summed[:, 0],
        words=summed[:, 1:],
        importance=importance[:, 1:].detach(),
        padding=~present[:, 1:],
    )


def _sum_by_word(values: Tensor, word_of: Tensor) -> Tensor:
    """(B, T, E) by piece to (B, T, E) by word, zeros after the last."""
    index = word_of.clamp(min=0)[..., None].expand_as(values)
    return torch.zeros_like(values).scatter_add(1, index, values * (word_of >= 0)[..., None])


def _shifted(attention: Tensor) -> Tensor:
    return torch.cat([attention[:, 1:], torch.zeros_like(attention[:, :1])], dim=1)


def _without_end(word_of: Tensor) -> Tensor:
    full, last_word = word_of[:, -1:] >= 0, word_of[:, -1:] - 1
    return word_of.masked_fill(full & (word_of >= last_word), -1)
