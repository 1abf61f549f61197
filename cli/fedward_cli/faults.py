"""How what goes wrong reaches a person: a sentence in a panel, and an exit code that scripts can read.

0    all went well
1    a message can explain it (any FedwardError)
2    the command was called the wrong way
130  Ctrl-C
"""

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
    """A command group that shows our own errors without a traceback; anything else is a bug, and is shown whole."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command that was chosen."""
        try:
            return super().invoke(ctx)
        except FedwardError as error:
            errors().print(Panel(escape(str(error)), title="This did not work", border_style="red", expand=False))
            raise typer.Exit(FAILED) from None
        except KeyboardInterrupt:
            errors().print("Stopped. What was reached is kept: the same command goes on from there.")
            raise typer.Exit(INTERRUPTED) from None
