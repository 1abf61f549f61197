"""Where text goes: results to standard output, everything about progress and errors to standard error."""

import io
import shlex
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape

# A pipe has no width of its own: tables must not be folded at 80 columns there, and sentences stay readable.
_TABLE_WIDTH, _TEXT_WIDTH = 240, 140


def output() -> Console:
    """For results."""
    return _console(stderr=False, width=_TABLE_WIDTH)


def errors() -> Console:
    """For progress, warnings and errors."""
    return _console(stderr=True, width=_TEXT_WIDTH)


def tell(text: str) -> None:
    """Say something about what happens, on one line however long; the text is markup."""
    errors().print(text, soft_wrap=True)


def in_turn(things: Sequence[str], doing: str) -> Iterator[str]:
    """Each thing in turn, while a terminal shows which one is at work; elsewhere nothing is written.

    Args:
        things: Their names, e.g. of sites.
        doing: What is done with one, e.g. ``reading the images of``.
    """
    with errors().status(doing) as status:
        for place, thing in enumerate(things, start=1):
            count = f", {place} of {len(things)}" if len(things) > 1 else ""
            status.update(f"{doing} {escape(thing)}{count}")
            yield thing


def way_to_program() -> str:
    """What to type in a shell that does not find this program by its name; empty where it does."""
    folder = Path(sys.executable).parent
    return "" if shutil.which("fedward") else f"export PATH={shlex.quote(str(folder))}:$PATH"


def show_every_sign() -> None:
    """Let standard output show a sign that its encoding lacks by its number, as standard error does, and not fail."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _console(*, stderr: bool, width: int) -> Console:
    console = Console(stderr=stderr, highlight=False)
    if not console.is_terminal:
        console.width = width
    return console
