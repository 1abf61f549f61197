"""What a radiologist saw and concluded, out of a whole report with headings.

As in: HKU-MedAI/MGCA, commit 680fe4a, the impression comes first, then the findings; what was asked, how the image was
taken and what came before say nothing of the image. Which words are headings was decided here.
"""

import re

_HEADING = re.compile(r"^[ \t]*([A-Z][A-Z /&()-]{2,60}?)[ \t]*:", re.MULTILINE)
_WANTED = (("IMPRESSION", "IMPRESSIONS", "CONCLUSION", "CONCLUSIONS"), ("FINDINGS", "FINDING"))


def impression_and_findings(report: str) -> str:
    """Impression, then findings, without their headings.

    Args:
        report: The whole text; a heading is in capitals at the start of a line, with a colon after it.

    Returns:
        What stands beneath the two, joined by a space; nothing where there is neither.
    """
    found = _sections(report)
    parts = [" ".join(text for heading, text in found if heading in wanted) for wanted in _WANTED]
    return " ".join(part for part in parts if part)


def _sections(report: str) -> list[tuple[str, str]]:
    """Headings with what stands beneath them, up to the next."""
    parts = _HEADING.split(report)[1:]  # heading, what stands beneath, heading, ...
    return [(heading, text.strip()) for heading, text in zip(parts[::2], parts[1::2], strict=True)]
