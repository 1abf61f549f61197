"""What is read of a report with headings."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedward_models.towers.report_sections import impression_and_findings
from fedward_models.towers.reports import clean_report

REPORT = """                                 FINAL REPORT
 EXAMINATION: Chest, two views
 INDICATION: Cough for two weeks

 COMPARISON: None.

 FINDINGS:

 The lungs are clear. No effusion:
 none at all.

 IMPRESSION:  1. No pneumothorax. 2. OK.
"""


def test_the_impression_comes_first_and_questions_are_left_out() -> None:
    words = clean_report(impression_and_findings(REPORT))
    assert " ".join(words) == "no pneumothorax the lungs are clear no effusion none at all"


def test_one_of_the_two_is_enough() -> None:
    assert impression_and_findings("FINDINGS: Clear lungs.") == "Clear lungs."
    assert impression_and_findings("CONCLUSION : Clear lungs.\nNOTE: late") == "Clear lungs."


@pytest.mark.parametrize("heading", ["FINDINGS AND IMPRESSION", "FINDINGS/IMPRESSION", "PRELIMINARY FINDINGS"])
def test_a_heading_may_have_further_words(heading: str) -> None:
    assert (
        impression_and_findings(f"INDICATION: Cough.\n{heading}: Clear lungs.\nNOTIFICATION: Called.") == "Clear lungs."
    )


def test_headings_within_the_findings_do_not_end_them() -> None:
    report = "FINDINGS:\nPA AND LATERAL VIEWS: The heart is large.\nLUNGS: Clear.\n\nIMPRESSION:\nLarge heart."
    words = clean_report(impression_and_findings(report))
    assert " ".join(words) == "large heart pa and lateral views the heart is large lungs clear"


@pytest.mark.parametrize(
    "heading",
    ["CLINICAL IMPRESSION", "TYPE OF EXAMINATION", "REASON FOR EXAM", "RECOMMENDATION(S)", "PRIOR STUDY", "WET READ"],
)
def test_what_says_nothing_of_the_image_ends_the_findings(heading: str) -> None:
    assert impression_and_findings(f"FINDINGS: Clear lungs.\n {heading} : Pneumonia?") == "Clear lungs."


def test_a_report_with_neither_says_nothing() -> None:
    assert impression_and_findings("INDICATION: Cough.\nTECHNIQUE: Two views.") == ""
    assert impression_and_findings("The lungs are clear.") == ""


@given(st.text(alphabet="aB :\n.", max_size=60))
def test_any_text_is_read_without_an_error(text: str) -> None:
    assert impression_and_findings(f"FINDINGS:{text}").replace(" ", "") in f"{text}".replace(" ", "")
