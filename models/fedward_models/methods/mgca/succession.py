"""What one stage of MGCA asks of another that it goes on from."""

from fedward_core.errors import SpecError
from fedward_models.methods.mgca.config import MGCAConfig

# Another number of heads, or another order of word pieces, has the same shapes and says something else.
_READING = ("heads", "vocabulary", "legacy_positions", "legacy_words")


def check_same_reading(ours: MGCAConfig, theirs: MGCAConfig) -> None:
    """Make sure that reports are read as the stage before has learned to.

    Args:
        ours: Of the stage that goes on.
        theirs: Of the stage before.

    Raises:
        SpecError: The text tower is frozen in one of the two only, has weights that nothing would be made of, or cuts
            or reads reports in another way.
    """
    if ours.freeze_text != theirs.freeze_text:
        raise SpecError(
            "a frozen text tower is in no checkpoint, so that freeze_text is alike in stages of mgca that go on from "
            f"each other: found {str(theirs.freeze_text).lower()}, then {str(ours.freeze_text).lower()}"
        )
    if ours.freeze_text and ours.text.weights != theirs.text.weights:
        raise SpecError("the frozen text tower is another than that of the previous stage: name the same text.weights")
    if ours.text.weights and not ours.freeze_text:
        raise SpecError("text.weights have no effect on a stage that starts from the previous one: leave them out")
    for name in _READING:
        if getattr(ours.text, name) != getattr(theirs.text, name):
            raise SpecError(
                f"text.{name} is another than in the previous stage of mgca, whose text tower is taken over: make them "
                "alike"
            )
