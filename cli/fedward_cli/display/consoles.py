"""Where text goes: results to standard output, everything about progress and errors to standard error."""

import io
import shlex
import shutil
import sys
from pathlib import Path

from rich.console import Console

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
