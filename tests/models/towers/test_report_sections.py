"""What is read of a report with headings."""

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


def test_a_report_with_neither_says_nothing() -> None:
    assert impression_and_findings("INDICATION: Cough.\nTECHNIQUE: Two views.") == ""
    assert impression_and_findings("The lungs are clear.") == ""


@given(st.text(alphabet="aB :\n.", max_size=60))
def test_any_text_is_read_without_an_error(text: str) -> None:
    assert impression_and_findings(f"FINDINGS:{text}").replace(" ", "") in f"{text}".replace(" ", "")
