"""From the text of a report to its words.

As in: HKU-MedAI/MGCA, commit 680fe4a: sentences end at full stops and at the numbers of a list, words are lower case
and ASCII without punctuation, and sentences of one word say nothing.
"""

import re

_LIST_NUMBER = re.compile(r"[0-9]+\.")
_WORD = re.compile(r"\w+")

FEWEST_WORDS = 3
"""A report with fewer is not trained with (MGCA, as published)."""


def clean_report(text: str) -> tuple[str, ...]:
    """The words of a report, in their order.

    Args:
        text: The report; impression first, then findings, where both are known.

    Returns:
        Lower-case ASCII words; none where the text says nothing.
    """
    parts = _LIST_NUMBER.split(text.replace("\n", " "))
    sentences = [words_of(sentence) for part in parts for sentence in part.split(".")]
    return tuple(word for words in sentences if len(words) > 1 for word in words)


def words_of(sentence: str) -> list[str]:
    """Lower-case ASCII words without punctuation, in their order."""
    words = (word.encode("ascii", "ignore").decode("ascii") for word in _WORD.findall(sentence.lower()))
    return [word for word in words if word]
