"""How what goes wrong reaches a person: a sentence in a panel, and an exit code that scripts can read.

0    all went well
1    a message can explain it: any FedwardError, a file that cannot be read or written, too little memory, or a package
     that is missing
2    the command was called the wrong way
130  Ctrl-C

A job of a site tells its agent the same sentence, unless another start may get further.
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click
import typer
from rich.markup import escape
from rich.panel import Panel
from typer.core import TyperGroup

from fedward_cli.display.consoles import errors
from fedward_core.errors import BusyError, FedwardError, RoundError

FAILED = 1
INTERRUPTED = 130
# A worker was lost, another process was at work, too little memory was free: it may be otherwise at another start.
MAY_PASS = (RoundError, BusyError, MemoryError)
OF_THE_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.ESTALE}  # writing to an open file names none


class PoliteGroup(TyperGroup):
    """A group that shows what a person can mend without a traceback; anything else is a bug, and shown whole."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command that was chosen."""
        try:
            return super().invoke(ctx)
        except (FedwardError, ModuleNotFoundError, OSError, MemoryError) as error:
            words = _words(error)
            if not words:
                raise
            if not isinstance(error, MAY_PASS):
                _tell_agent(words)
            errors().print(Panel(escape(words), title="This did not work", border_style="red", expand=False))
            raise typer.Exit(FAILED) from None
        except KeyboardInterrupt:
            errors().print("Stopped. A run keeps what it has reached: the same command goes on from there.")
            raise typer.Exit(INTERRUPTED) from None


@contextmanager
def watching(what: str) -> Iterator[None]:
    """Ctrl-C within the block ends the watching and nothing else, and says so.

    Args:
        what: What is watched and goes on, e.g. ``run 'quickstart-1'``.
    """
    try:
        yield
    except KeyboardInterrupt:
        errors().print(f"No longer watched; {escape(what)} goes on.", soft_wrap=True)
        raise typer.Exit(INTERRUPTED) from None


def _tell_agent(words: str) -> None:
    from fedward_client.jobs.fault import keep_fault  # most commands need no client

    keep_fault(words)


def _words(error: Exception) -> str:
    """What a person can mend; empty for a bug of ours, or a pipe that was closed."""
    if isinstance(error, FedwardError):
        return str(error)
    if isinstance(error, ModuleNotFoundError):
        return _missing(error.name or "")
    if isinstance(error, MemoryError):
        return "the memory of this machine does not suffice: take smaller images, volumes or batches, or fewer workers"
    assert isinstance(error, OSError)
    if error.filename:
        return f"{error.strerror}: '{error.filename}'"
    return str(error.strerror) if error.errno in OF_THE_DISK else ""


def _missing(module: str) -> str:
    if module.startswith("fedward") or not module:
        return ""
    return (
        f"this command needs the package '{module}', which is not installed here: install Fedward with the extra that "
        "brings it. `fedward doctor` names the extras that are missing"
    )
