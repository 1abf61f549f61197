"""What images without a report are compared with: a text for each class."""

from collections.abc import Sequence

from fedward_core.cards import Contract, Task
from fedward_core.errors import SpecError
from fedward_models.methods.mgca.config import MGCAConfig
from fedward_models.towers.reports import words_of
from fedward_models.towers.word_pieces import Pieces, WordPieces


def class_prompts(config: MGCAConfig, contract: Contract) -> tuple[str, ...]:
    """The settings' prompts, or else the classes' names.

    Raises:
        SpecError: There are more or fewer prompts than classes.
    """
    if config.prompts is None:
        return tuple(name.replace("_", " ") for name in contract.classes)
    if len(config.prompts) != len(contract.classes):
        raise SpecError(
            f"mgca has {len(config.prompts)} prompts for {len(contract.classes)} classes: give one for each class, in "
            "the order of the classes, or none for their names"
        )
    return config.prompts


def absent(prompts: Sequence[str]) -> tuple[str, ...]:
    """What is said where a class is not there."""
    return tuple(f"no {prompt}" for prompt in prompts)


def cut_prompts(prompts: Sequence[str], pieces: WordPieces) -> Pieces:
    """Prompts in pieces: their words as those of reports, without leaving out short sentences."""
    return pieces([words_of(prompt) for prompt in prompts])


def check_prompts(prompts: Sequence[str], pieces: WordPieces, *, task: Task) -> None:
    """Refuse prompts of which nothing, or not all, would be read.

    Raises:
        SpecError: A prompt has no words in ASCII letters, or more pieces than the text tower reads.
    """
    if silent := [prompt for prompt in prompts if not words_of(prompt)]:
        raise SpecError(
            f"the prompt '{silent[0]}' has no words in ASCII letters, and nothing else is read: write 'prompts', one "
            "for each class"
        )
    asked = (*prompts, *(absent(prompts) if task is Task.MULTI_LABEL else ()))
    lengths = pieces.lengths([words_of(prompt) for prompt in asked])
    if long := [pair for pair in zip(asked, lengths, strict=True) if pair[1] > pieces.max_tokens]:
        prompt, length = long[0]
        raise SpecError(
            f"the prompt '{prompt}' makes {length} pieces, and the text tower reads {pieces.max_tokens}: shorten it, "
            "or raise text.max_tokens"
        )
