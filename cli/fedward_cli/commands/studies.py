"""``fedward study``: studies of a coordinator."""

import json
from pathlib import Path
from typing import Annotated

import typer

from fedward_cli.display.listing import show_listed
from fedward_cli.network.connection import ENVIRONMENT, coordinator
from fedward_cli.options import AsJson, class_names

app = typer.Typer(no_args_is_help=True, help=f"Make and list studies of a coordinator. {ENVIRONMENT}")


@app.command("create")
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The study's name.")],
    site: Annotated[
        list[str] | None, typer.Option("--site", help="A site that belongs to it; give it for each.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data", help="A folder on the coordinator's machine with data of sites to simulate.", file_okay=False
        ),
    ] = None,
    drill: Annotated[
        bool, typer.Option("--drill", help="The sites are made up and have no data: only rehearsals can run.")
    ] = False,
    classes: Annotated[str, typer.Option("--classes", help="Its classes, in order, with commas between them.")] = "",
    as_json: AsJson = False,
) -> None:
    """Make a study: a group of enrolled sites with one dataset. Needs an admin's key.

    With `--data` or `--drill`, the coordinator simulates the sites.

    For example `fedward study create chest --site north --site hill --site river`
    """
    if data and drill:
        raise typer.BadParameter(
            "--data simulates sites that have data, and --drill ones that have none: give one of them"
        )
    body = {
        "name": name,
        **({"sites": site} if site else {}),
        **({"data": str(data.absolute())} if data else {"enrolled": not drill}),
        **({"classes": class_names(classes)} if classes else {}),
    }
    made = coordinator().post("/studies", body)
    typer.echo(json.dumps(made, indent=2) if as_json else made["name"])


@app.command("list")
def list_studies(as_json: AsJson = False) -> None:
    """List studies with their sites."""
    columns = ("study", "sites", "classes")
    studies = coordinator().get("/studies")
    show_listed(
        studies,
        columns,
        lambda study: (study["name"], ", ".join(study["sites"]), ", ".join(study["classes"])),
        as_json=as_json,
    )
