"""Vocabularies of word pieces: the built-in one, one that was trained on public text, and one from a file.

A vocabulary is the same at every site and is part of no update, so no site's text may be in it: the built-in one was
written by hand from the common words of chest radiology, with every letter and digit as a piece, so that any text has
pieces. None of it comes from anybody's reports.
"""

import hashlib
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path

from pydantic import Field

from fedward_core.config import SHA256, Frozen
from fedward_core.errors import CheckpointError
from fedward_models.frozen import FOLDERS, find_file

PAD, UNKNOWN, FIRST, LAST = "[PAD]", "[UNK]", "[CLS]", "[SEP]"
SPECIAL = (PAD, UNKNOWN, FIRST, LAST)
CONTINUES = "##"
_CHARACTERS = "abcdefghijklmnopqrstuvwxyz0123456789_"
_FILE = "radiology_words.txt"


class VocabularyFile(Frozen):
    """A vocabulary in a file of one piece a line, as BERT's ``vocab.txt``; found where frozen weights are.

    Attributes:
        name: The file's name without folder and without ``.txt``.
        sha256: The digest of the whole file, 64 hexadecimal digits.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    sha256: str = Field(pattern=SHA256)


def built_in_vocabulary() -> tuple[str, ...]:
    """Special pieces, letters and digits at the start of a word and within, then words and endings."""
    words = files("fedward_models.towers").joinpath(_FILE).read_text(encoding="utf-8").split()
    characters = (*_CHARACTERS, *(CONTINUES + character for character in _CHARACTERS))
    return tuple(dict.fromkeys((*SPECIAL, *characters, *words)))


def train_vocabulary(texts: Iterable[str], *, size: int) -> tuple[str, ...]:
    """Word pieces of a public collection of texts, which stand for any text of its kind.

    Args:
        texts: Cleaned texts, words between spaces. What they contain can be read from the result.
        size: Pieces at most; radiology needs about 8,000.
    """
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers  # noqa: PLC0415 - only who trains one needs it

    tokenizer = Tokenizer(models.WordPiece(unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    trainer = trainers.WordPieceTrainer(
        vocab_size=size, special_tokens=list(SPECIAL), initial_alphabet=list(_CHARACTERS), show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    numbers = tokenizer.get_vocab()
    return tuple(sorted(numbers, key=numbers.__getitem__))


def read_vocabulary(file: VocabularyFile) -> tuple[str, ...]:
    """The pieces of a file, checked.

    Raises:
        CheckpointError: There is no such file, its digest is another, or special pieces are missing.
    """
    content = _find(file).read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != file.sha256:
        raise CheckpointError(
            f"the vocabulary '{file.name}.txt' is not the one that the spec names: expected sha256 {file.sha256}, "
            f"found {found}. Fetch the right file, or correct the digest in the spec"
        )
    lines = content.decode("utf-8", errors="replace").removesuffix("\n").split("\n")
    pieces = tuple(line.removesuffix("\r") for line in lines)  # pieces of other scripts may be separators themselves
    if missing := [piece for piece in SPECIAL if piece not in pieces]:
        raise CheckpointError(
            f"the vocabulary '{file.name}.txt' lacks {', '.join(missing)}: expected BERT's vocab.txt, one piece a line"
        )
    return pieces


def _find(file: VocabularyFile) -> Path:
    if path := find_file(f"{file.name}.txt"):
        return path
    raise CheckpointError(
        f"no vocabulary '{file.name}.txt' on this machine: put the file with sha256 {file.sha256} into the folder that "
        f"{FOLDERS} names, or into 'weights' beneath the working folder"
    )
