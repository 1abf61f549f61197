"""``fedward key``: API keys of a coordinator."""

import json
from typing import Annotated

import typer
from rich.markup import escape

from fedward_cli.display.consoles import tell
from fedward_cli.display.listing import show_listed
from fedward_cli.network.connection import ENVIRONMENT, coordinator, path_of
from fedward_cli.options import AsJson

app = typer.Typer(
    no_args_is_help=True, help=f"Make, list and revoke API keys of a coordinator; needs an admin's. {ENVIRONMENT}"
)

KeyName = Annotated[str, typer.Argument(metavar="NAME", help="The key's name.")]


@app.command("create")
def create(
    name: KeyName,
    role: Annotated[str, typer.Option("--role", help="What it allows: reader, researcher or admin.")] = "researcher",
    as_json: AsJson = False,
) -> None:
    """Make a key, and print it. It is shown this once.

    For example `fedward key create anna --role researcher`
    """
    made = coordinator().post("/keys", {"name": name, "role": role})
    if as_json:
        typer.echo(json.dumps(made, indent=2))
        return
    tell(f"The key of '{escape(name)}', shown this once:")
    typer.echo(made["key"])


@app.command("list")
def list_keys(as_json: AsJson = False) -> None:
    """List keys with what they allow; the keys themselves are known to nobody."""
    columns = ("name", "role", "site")
    keys = coordinator().get("/keys")
    show_listed(keys, columns, lambda key: (key["name"], key["role"], key["site"] or ""), as_json=as_json)


@app.command("revoke")
def revoke(name: KeyName) -> None:
    """Revoke a key: it opens nothing from now on."""
    coordinator().delete(path_of("keys", name))
    typer.echo(f"{name} is revoked")
