"""A clock is compared by an answer, however long that takes."""

import pytest

from fedward_core.clocks import ahead_s

NINE = "Thu, 01 Jan 1970 00:00:09 GMT"


@pytest.mark.parametrize(
    ("asked_s", "heard_s", "expected"),
    [(9, 9, 0), (4, 14, 0), (12, 13, 3), (5, 7, -2)],
    ids=["alike", "a slow answer", "ahead", "behind"],
)
def test_only_what_the_answer_cannot_explain_counts(asked_s: float, heard_s: float, expected: float) -> None:
    assert ahead_s(NINE, asked_s=asked_s, heard_s=heard_s) == expected


def test_what_is_no_time_is_an_error() -> None:
    with pytest.raises(ValueError, match="noon"):
        ahead_s("noon", asked_s=0, heard_s=0)
