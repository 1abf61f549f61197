"""How what goes wrong reaches a person: a sentence in a panel, and an exit code that scripts can read.

0    all went well
1    a message can explain it: any FedwardError, or a file that cannot be read or written
2    the command was called the wrong way
130  Ctrl-C
"""

import errno
from typing import Any

import click
import typer
from rich.markup import escape
from rich.panel import Panel
from typer.core import TyperGroup

from fedward_cli.display.consoles import errors
from fedward_core.errors import FedwardError

FAILED = 1
INTERRUPTED = 130


class PoliteGroup(TyperGroup):
    """A group that shows what a person can mend without a traceback; anything else is a bug, and shown whole."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command that was chosen."""
        try:
            return super().invoke(ctx)
        except FedwardError as error:
            _explain(str(error))
            raise typer.Exit(FAILED) from None
        except OSError as error:
            if error.filename is None and error.errno != errno.ENOSPC:  # of no file, such as a pipe that was closed
                raise
            _explain(f"{error.strerror}: '{error.filename}'" if error.filename else str(error.strerror))
            raise typer.Exit(FAILED) from None
        except KeyboardInterrupt:
            errors().print("Stopped. A run keeps what it has reached: the same command goes on from there.")
            raise typer.Exit(INTERRUPTED) from None


def _explain(words: str) -> None:
    errors().print(Panel(escape(words), title="This did not work", border_style="red", expand=False))
