"""Reads docstrings for tables and help: of modules from their files, so that nothing of them is imported."""

import ast
import inspect
import re
from importlib.util import find_spec
from pathlib import Path

_PAPER = re.compile(r"Papers?: ")
_ARXIV = re.compile(r".*?arXiv:\d+\.\d+")
_YEAR = re.compile(r".*?\b(?:19|20)\d\d\b")
_CITED = re.compile(r" ?\(([^()]*\b(?:19|20)\d\d)\b[^()]*\)")


def of_module(name: str) -> str:
    """The docstring of a module, read from its file; empty if there is none."""
    found = find_spec(name)
    if found is None or found.origin is None:
        return ""
    return ast.get_docstring(ast.parse(Path(found.origin).read_text(encoding="utf-8"))) or ""


def paper(docstring: str) -> str:
    """The paper behind a thing: its ``Paper:`` paragraph up to where it appeared, or else what it cites with a year."""
    paragraphs = [" ".join(paragraph.split()) for paragraph in docstring.split("\n\n")]
    for paragraph in paragraphs:
        if start := _PAPER.match(paragraph):
            named = _ARXIV.match(paragraph) or _YEAR.match(paragraph)
            return (named[0] if named else paragraph).removeprefix(start[0])
    return "; ".join(_CITED.findall(paragraphs[0]))


def summary(docstring: str | None) -> str:
    """The first paragraph, on one line and without what it cites."""
    return _CITED.sub("", " ".join((docstring or "").split("\n\n")[0].split()))


def attributes(cls: type) -> dict[str, str]:
    """What the ``Attributes`` sections of a class and of its bases say, by attribute."""
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        found |= _attributes(inspect.cleandoc(base.__doc__ or ""))
    return found


def _attributes(docstring: str) -> dict[str, str]:
    found: dict[str, str] = {}
    name = ""
    for line in docstring.partition("Attributes:\n")[2].splitlines():
        if line and not line.startswith(" "):
            break
        start = re.match(r"    (\w+): (.*)", line)
        if start:
            name = start[1]
            found[name] = start[2]
        elif name and line.strip():
            found[name] += f" {line.strip()}"
    return found
