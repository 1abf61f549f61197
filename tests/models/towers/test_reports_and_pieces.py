"""Reports to words, words to pieces, pieces back to words."""

import hashlib
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fedward_core.errors import CheckpointError
from fedward_models.towers.reports import clean_report
from fedward_models.towers.vocabulary import (
    SPECIAL,
    VocabularyFile,
    built_in_vocabulary,
    read_vocabulary,
    train_vocabulary,
)
from fedward_models.towers.word_pieces import WordPieces
from fedward_models.towers.words import join_pieces

VOCABULARY = (*SPECIAL, "no", "pneumo", "##thor", "##ax", "effusion", "left")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1. No pneumothorax. 2. OK.", "no pneumothorax"),
        ("Heart size\nis NORMAL.", "heart size is normal"),
        ("Naïve wörds: ½ here", "nave wrds here"),
        ("Clear. ...", ""),
        ("", ""),
    ],
)
def test_a_report_becomes_plain_words(text: str, words: str) -> None:
    assert " ".join(clean_report(text)) == words


@given(st.text(max_size=60))
def test_words_are_lower_case_ascii_and_are_not_changed_by_cleaning_again(text: str) -> None:
    words = clean_report(text)
    assert all(word.isascii() and word == word.lower() and " " not in word for word in words)
    assert len(words) != 1


def test_a_word_in_pieces_is_one_word_and_is_the_sum_of_its_pieces() -> None:
    pieces = WordPieces(VOCABULARY, max_tokens=112)([("no", "pneumothorax", "left")])
    assert pieces.word_of[0, :7].tolist() == [0, 1, 2, 2, 2, 3, 4]
    assert pieces.numbers[0, 0] == SPECIAL.index("[CLS]")
    states, attention = torch.randn(1, 112, 5), torch.rand(1, 112)
    words = join_pieces(states, attention, pieces.word_of)
    torch.testing.assert_close(words.words[0, 1], states[0, 2:5].sum(dim=0))
    torch.testing.assert_close(words.importance[0, 1], attention[0, 2:5].sum())
    assert torch.equal(words.report, states[:, 0])
    assert words.words.shape == (1, 111, 5)
    assert words.padding.tolist() == [[False] * 4 + [True] * 107]  # three words and [SEP]; [CLS] stands for the text
    assert not words.words[words.padding].any()
    assert not words.importance[words.padding].any()


def test_a_report_that_fills_every_position_keeps_its_last_word_unless_legacy() -> None:
    pieces = WordPieces(VOCABULARY, max_tokens=6)([["no", "effusion", "no", "left"]])
    states, attention = torch.randn(1, 6, 5), torch.rand(1, 6)
    words = join_pieces(states, attention, pieces.word_of)
    assert not words.padding.any()
    assert torch.equal(words.words[0, 3], states[0, 4])
    assert int(join_pieces(states, attention, pieces.word_of, legacy=True).padding.sum()) == 2


def test_a_report_that_is_too_long_loses_its_end_and_says_so() -> None:
    pieces = WordPieces(VOCABULARY, max_tokens=6)([["no"] * 4, ["left"] * 5])
    assert pieces.cut.tolist() == [False, True]
    assert pieces.numbers[:, -1].tolist() == [SPECIAL.index("[SEP]")] * 2


def test_the_built_in_vocabulary_has_pieces_for_any_cleaned_word() -> None:
    cut = WordPieces(built_in_vocabulary(), max_tokens=64)
    numbers = cut([["hydropneumothorax", "xq7z", "a_b"]]).numbers
    assert not (numbers == SPECIAL.index("[UNK]")).any()
    assert len(built_in_vocabulary()) == len(set(built_in_vocabulary()))


def test_a_vocabulary_is_trained_on_given_texts_only() -> None:
    vocabulary = train_vocabulary(["small effusion left", "small effusion right"] * 5, size=120)
    assert vocabulary[: len(SPECIAL)] == SPECIAL
    assert "effusion" in vocabulary
    assert len(vocabulary) <= 120


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FEDWARD_WEIGHTS", str(tmp_path))
    return tmp_path


def vocabulary_file(folder: Path, *pieces: str) -> VocabularyFile:
    content = "\n".join(pieces).encode()
    (folder / "vocab.txt").write_bytes(content)
    return VocabularyFile(name="vocab", sha256=hashlib.sha256(content).hexdigest())


def test_a_vocabulary_is_read_by_its_digest(folder: Path) -> None:
    assert read_vocabulary(vocabulary_file(folder, *VOCABULARY)) == VOCABULARY


def test_only_the_ends_of_lines_part_the_pieces_of_a_vocabulary(folder: Path) -> None:
    pieces = (*VOCABULARY, "\x85", "\u2028", "last")
    assert read_vocabulary(vocabulary_file(folder, *pieces)) == pieces
    assert read_vocabulary(vocabulary_file(folder, *(f"{piece}\r" for piece in VOCABULARY), "")) == VOCABULARY


def test_a_vocabulary_that_is_missing_another_or_no_vocabulary_is_refused(folder: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no vocabulary 'other.txt'"):
        read_vocabulary(VocabularyFile(name="other", sha256="0" * 64))
    right = vocabulary_file(folder, *VOCABULARY)
    with pytest.raises(CheckpointError, match=rf"expected sha256 {'0' * 64}, found {right.sha256}"):
        read_vocabulary(right.model_copy(update={"sha256": "0" * 64}))
    with pytest.raises(CheckpointError, match=r"lacks \[CLS\], \[SEP\]"):
        read_vocabulary(vocabulary_file(folder, "[PAD]", "[UNK]", "no"))
