"""From words to word pieces and their numbers.

Letters: B batch, T tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor

from fedward_models.towers.vocabulary import CONTINUES, FIRST, LAST, PAD, UNKNOWN

_LONGEST_WORD = 100  # BERT's own limit; a longer one becomes the unknown piece


@dataclass(frozen=True, kw_only=True)
class Pieces:
    """Texts as numbers.

    Attributes:
        numbers: (B, T) int64, the first piece, the text's, the last piece, then padding.
        word_of: (B, T) int64, the word of each piece, counted from 0 for the first piece; -1 for padding.
        cut: (B,) bool, whether the text was longer than T allows and lost its end.
    """

    numbers: Tensor
    word_of: Tensor
    cut: Tensor


class WordPieces:
    """Cuts words into the longest pieces that the vocabulary has (Wu et al., 2016, as in BERT).

    Args:
        vocabulary: Pieces by their numbers; those that continue a word begin with ``##``.
        max_tokens: T, first and last piece counted.
    """

    def __init__(self, vocabulary: Sequence[str], *, max_tokens: int) -> None:
        self.max_tokens = max_tokens
        self._numbers = {piece: number for number, piece in enumerate(vocabulary)}
        self._continues = torch.tensor([piece.startswith(CONTINUES) for piece in vocabulary])
        model = models.WordPiece(self._numbers, unk_token=UNKNOWN, max_input_chars_per_word=_LONGEST_WORD)
        self._tokenizer = Tokenizer(model)
        self._tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()

    def __call__(self, texts: Sequence[Sequence[str]]) -> Pieces:
        """Cut texts, which are words, and pad them; a text that is too long keeps its start and the last piece."""
        rows = self._cut(texts)
        numbers = torch.stack([self._row(row) for row in rows])
        starts = ~self._continues[numbers]
        word_of = (starts.cumsum(dim=1) - 1).masked_fill(numbers == self._numbers[PAD], -1)
        return Pieces(numbers=numbers, word_of=word_of, cut=torch.tensor([len(row) > self._room for row in rows]))

    def lengths(self, texts: Sequence[Sequence[str]]) -> list[int]:
        """How many pieces each text has, first and last piece counted; more than T are cut."""
        return [len(row) + 2 for row in self._cut(texts)]

    def _cut(self, texts: Sequence[Sequence[str]]) -> list[list[int]]:
        return [encoding.ids for encoding in self._tokenizer.encode_batch([" ".join(words) for words in texts])]

    @property
    def _room(self) -> int:
        return self.max_tokens - 2

    def _row(self, pieces: list[int]) -> Tensor:
        row = torch.full((self.max_tokens,), self._numbers[PAD])
        kept = [self._numbers[FIRST], *pieces[: self._room], self._numbers[LAST]]
        row[: len(kept)] = torch.tensor(kept)
        return row
