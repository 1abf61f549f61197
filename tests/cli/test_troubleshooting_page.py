"""The page that explains messages quotes those that the program has."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
SOURCES = sorted([*ROOT.glob("*/fedward_*/**/*.py"), ROOT / "deploy" / "make_environment.py"])
QUOTED = re.findall(r"^\| `([^`]+)`", PAGE, re.MULTILINE)
VARIES = "…"


def test_the_page_quotes_messages() -> None:
    assert len(QUOTED) > 50


@pytest.mark.parametrize("quoted", QUOTED)
def test_every_message_on_the_page_stands_in_the_code(quoted: str) -> None:
    wanted = re.compile(".*".join(map(re.escape, quoted.split(VARIES))), re.DOTALL)
    assert any(wanted.search(message) for message in MESSAGES)


def messages(source: Path) -> Iterator[str]:
    """Every text of a file, with a sign in place of each value that is put in."""
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else VARIES for part in node.values)


MESSAGES = tuple(message for source in SOURCES for message in messages(source))
