"""``fedward weights``: frozen weights that sites fetch from a coordinator."""

import json
import re
from pathlib import Path
from typing import Annotated

import typer

from fedward_cli.display.consoles import tell
from fedward_cli.display.listing import show_listed
from fedward_cli.display.moments import in_utc
from fedward_cli.network.connection import ENVIRONMENT, coordinator, path_of
from fedward_cli.options import AsJson

app = typer.Typer(
    no_args_is_help=True,
    help="Add, list and remove frozen weights, such as a teacher or a text tower: files that specs name by their "
    f"digest, and that a coordinator hands to the sites of a run. {ENVIRONMENT}",
)


@app.command("add")
def add(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A safetensors file.", exists=True, dir_okay=False, readable=True)
    ],
    as_json: AsJson = False,
) -> None:
    """Add a file, and print its name and digest as they go into a spec. Needs a researcher's key.

    A site whose policy says `fetch_weights: true` fetches the file before it agrees to a run that names it; at others
    a person places it. Adding the same file again is fine.

    For example `fedward weights add mae-vit-large.safetensors`
    """
    from fedward_core.frozen_weights import check_safetensors
    from fedward_models.frozen import file_digest

    check_safetensors(file)  # before gigabytes are sent
    digest = file_digest(file)
    added = coordinator().upload(path_of("weights", digest), file)
    if as_json:
        typer.echo(json.dumps(added, indent=2))
        return
    tell("In a spec, where it takes weights:")
    typer.echo(f'{{name: {_name_of(file)}, sha256: "{digest}"}}')


@app.command("list")
def list_weights(as_json: AsJson = False) -> None:
    """List what sites can fetch, the newest first."""
    columns = ("sha256", "MB", "added")
    show_listed(
        coordinator().get("/weights"),
        columns,
        lambda one: (one["sha256"], f"{one['size_bytes'] / 1e6:,.1f}", in_utc(one["added_s"])),
        as_json=as_json,
    )


@app.command("remove")
def remove(digest: Annotated[str, typer.Argument(metavar="DIGEST", help="The file's sha256, 64 digits.")]) -> None:
    """Remove a file; needs an admin's key. Sites that have fetched it keep it.

    For example `fedward weights remove 3f2a...`
    """
    coordinator().delete(path_of("weights", digest))
    typer.echo(f"{digest} is removed")


def _name_of(file: Path) -> str:
    """The file's name as a spec may have it; what it says is for people, as the digest tells the file."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", file.stem).lstrip("._-") or "weights"
