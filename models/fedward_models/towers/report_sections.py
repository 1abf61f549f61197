"""What a radiologist saw and concluded, out of a whole report with headings.

As in: HKU-MedAI/MGCA, commit 680fe4a, the impression comes first, then the findings; what was asked, how the image was
taken and what came before say nothing of the image. Which words are headings was decided here: only known ones end what
is read, as radiologists divide their findings by others, e.g. ``LUNGS:``.
"""

import re
from collections.abc import Iterator

_HEADING = re.compile(r"^[ \t]*([A-Z][A-Z /&()-]{2,60}?)[ \t]*:", re.MULTILINE)
_IMPRESSION, _FINDINGS, _OTHER = "impression", "findings", "other"
# By the words that a heading has among others, the first that fits; e.g. a clinical impression is what was asked.
_KINDS = (
    (_OTHER, "CLINICAL"),
    (_IMPRESSION, "IMPRESSIONS?|CONCLUSIONS?"),
    (_FINDINGS, "FINDINGS?"),
    (_OTHER, "EXAM|EXAMS|EXAMINATIONS?|STUDY|STUDIES|PROCEDURES?|TECHNIQUES?|CONTRAST|DOSE"),
    (_OTHER, "INDICATIONS?|HISTORY|REASON|COMPARISONS?|RECOMMENDATIONS?|NOTIFICATIONS?|NOTES?|ADDENDUM|ADDENDA"),
    (_OTHER, "WET READ|REPORT|PATIENT|DATE|TIME|PHYSICIAN|RADIOLOGIST|ATTENDING|DICTATED|TRANSCRIBED|SIGNED"),
)


def impression_and_findings(report: str) -> str:
    """Impression, then findings, without their headings.

    Args:
        report: The whole text; a heading is in capitals at the start of a line, with a colon after it.

    Returns:
        What stands beneath the two, joined by a space; nothing where there is neither. What stands beneath a heading
        that names both counts as the impression.
    """
    found = list(_sections(report))
    parts = [" ".join(text for kind, text in found if kind == wanted) for wanted in (_IMPRESSION, _FINDINGS)]
    return " ".join(part for part in parts if part)


def _sections(report: str) -> Iterator[tuple[str, str]]:
    """Kinds of sections with what stands beneath their headings, up to the next that is known."""
    known = [(kind, heading) for heading in _HEADING.finditer(report) if (kind := _kind_of(heading[1]))]
    ends = [*(heading.start() for _, heading in known), len(report)][1:]
    for (kind, heading), end in zip(known, ends, strict=True):
        yield kind, report[heading.end() : end].strip()


def _kind_of(heading: str) -> str:
    """Empty for a heading within a section."""
    return next((kind for kind, words in _KINDS if re.search(rf"\b({words})\b", heading)), "")
