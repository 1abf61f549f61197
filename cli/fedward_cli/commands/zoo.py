"""``fedward zoo``: what a spec can choose, and what was seen of it."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from fedward_cli.display.consoles import output
from fedward_cli.display.tables import folding
from fedward_cli.exhibits import KINDS, Exhibit, exhibits
from fedward_cli.options import AsJson
from fedward_core import registry
from fedward_core.errors import SpecError

if TYPE_CHECKING:
    from fedward_cli.matrix.matrix import Matrix

app = typer.Typer(no_args_is_help=True, help="What a spec can choose, by name.")


@app.command("list")
def list_names(
    kind: Annotated[str | None, typer.Option(help=f"Only one kind: {', '.join(KINDS)}.")] = None,
    as_json: AsJson = False,
) -> None:
    """List every registered name with what it needs and the paper behind it.

    For example `fedward zoo list --kind method`
    """
    found = exhibits(kind)
    if as_json:
        typer.echo(json.dumps([exhibit.model_dump() for exhibit in found], indent=2))
        return
    _print_list(found, one_kind=kind is not None)
    if kind is None:
        from fedward_cli.matrix.matrix import recorded  # a list of one kind does without

        _print_matrix(recorded())
    output().print("`fedward zoo show NAME` tells the settings of one of them.")


@app.command("matrix")
def matrix(
    run: Annotated[bool, typer.Option("--run", help="Try every cell anew on this machine; takes minutes.")] = False,
    engine: Annotated[list[str] | None, typer.Option(help="The engines to try, with --run: inline, ray.")] = None,
    method: Annotated[list[str] | None, typer.Option(help="The methods to try, with --run; all by default.")] = None,
    record: Annotated[
        Path | None, typer.Option(help="Write what was seen to this file, with --run; its other cells are kept.")
    ] = None,
    missing: Annotated[bool, typer.Option("--missing", help="Try only cells that --record has not yet.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show which method was seen to train on which backbone: at one site, federated and personalised.

    For example `fedward zoo matrix`
    """
    from fedward_cli.matrix.matrix import recorded  # a list of one kind does without

    if not run and (engine or method or record):
        raise typer.BadParameter("--engine, --method and --record have no effect on what is recorded: add --run")
    if missing and not record:
        raise typer.BadParameter("--missing has no effect without --record: name the file")
    chosen = engine or ["inline"], method or registry.names("methods")
    if run:
        from fedward_cli.matrix.trying import try_all  # it knows runs, which the record does not

        seen = try_all(*chosen, record=record, missing=missing)
    else:
        seen = recorded()
    if as_json:
        typer.echo(seen.model_dump_json(indent=2))
        return
    _print_matrix(seen)


@app.command("show")
def show(
    name: Annotated[str, typer.Argument(help="A registered name, e.g. mae.")],
    as_json: AsJson = False,
) -> None:
    """Show one entry: what it is, its paper, and every setting with its default and meaning.

    For example `fedward zoo show channel_decoupling`
    """
    found = exhibits()
    named = [exhibit for exhibit in found if exhibit.name == name]
    if not named:
        raise SpecError(registry.unknown(f"name '{name}'", name, tuple(exhibit.name for exhibit in found)))
    if as_json:
        typer.echo(json.dumps([exhibit.model_dump() for exhibit in named], indent=2))
        return
    for exhibit in named:
        _print_exhibit(exhibit)


def _print_list(found: Sequence[Exhibit], *, one_kind: bool) -> None:
    """A row for each name; a column that says nothing is left out, as screens are narrow."""
    heads = ("kind", "name", "what it is", "needs", "paper")
    rows = [
        ("" if one_kind else each.kind, f"[bold]{each.name}[/]", _words(each.summary), each.needs, _words(each.paper))
        for each in found
    ]
    filled = [place for place in range(len(heads)) if any(row[place] for row in rows)]
    table = folding(*(heads[place] for place in filled), title="What a spec can choose", title_justify="left")
    for index, row in enumerate(rows):
        last = index + 1 == len(found) or found[index + 1].kind != found[index].kind
        table.add_row(*(row[place] for place in filled), end_section=last)
    output().print(table)


def _words(docstring: str) -> str:
    """As markup; what docstrings mark as code by two signs has one here, as in the help."""
    return escape(docstring.replace("``", "`"))


def _print_matrix(seen: "Matrix") -> None:
    from fedward_cli.matrix.report import matrix_table, notes

    output().print(matrix_table(seen))
    for note in notes(seen):
        output().print(f"[dim]{escape(note)}[/]")


def _print_exhibit(exhibit: Exhibit) -> None:
    console = output()
    console.print(f"[bold]{exhibit.name}[/] ({exhibit.kind.replace('_', ' ')})")
    console.print(_words(exhibit.summary))
    for label, text in (("Needs", exhibit.needs), ("Paper", exhibit.paper)):
        if text:
            console.print(f"[dim]{label}:[/] {escape(text)}")
    if not exhibit.settings:
        return
    table = folding("setting", "default", "meaning")
    for setting in exhibit.settings:
        table.add_row(setting.key, escape(setting.default), _words(setting.meaning))
    console.print(table)
