"""What a coordinator or an agent lists: for people a row each, for programs its own words."""

import json
from collections.abc import Callable, Sequence
from typing import Any

import typer
from rich.markup import escape

from fedward_cli.display.consoles import output
from fedward_cli.display.tables import folding


def show_listed(
    found: Sequence[dict[str, Any]],
    columns: Sequence[str],
    cells: Callable[[dict[str, Any]], Sequence[str]],
    *,
    as_json: bool,
) -> None:
    """Show what was found.

    Args:
        found: What is listed.
        columns: The heads of the table.
        cells: The texts of one row, as they are; they are no markup.
        as_json: Print JSON in place of a table.
    """
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    table = folding(*columns)
    for one in found:
        table.add_row(*map(escape, cells(one)))
    output().print(table)
