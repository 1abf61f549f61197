"""``fedward site``: invites hospitals to a coordinator, lists and revokes them."""

import json
import time
from typing import Annotated, Any

import typer
from rich.markup import escape

from fedward_cli.display.consoles import tell
from fedward_cli.display.listing import show_listed
from fedward_cli.display.moments import in_utc
from fedward_cli.network.connection import ENVIRONMENT, coordinator, path_of
from fedward_cli.options import AsJson, finite

app = typer.Typer(no_args_is_help=True, help=f"Invite sites to a coordinator, list and revoke them. {ENVIRONMENT}")

SiteName = Annotated[str, typer.Argument(metavar="NAME", help="The site's name.")]
HOUR_S = 3600.0


@app.command("invite")
def invite(
    name: SiteName,
    hours: Annotated[
        float, typer.Option("--hours", min=0.01, callback=finite, help="How long the token may be used.")
    ] = 24.0,
    as_json: AsJson = False,
) -> None:
    """Make a one-time token with which a site can enrol, and print it. It is shown this once; needs an admin's key.

    For example `fedward site invite north`
    """
    invitation = coordinator().post("/sites/invitations", {"site": name, "valid_s": hours * HOUR_S})
    if as_json:
        typer.echo(json.dumps(invitation, indent=2))
        return
    until = in_utc(invitation["expires_s"])
    tell(f"Until {until}, whoever has this token can enrol as '{escape(name)}'. Hand it over in confidence;")
    tell("at the site: fedward agent enrol --coordinator URL --token TOKEN --home FOLDER")
    typer.echo(invitation["token"])


@app.command("list")
def list_sites(as_json: AsJson = False) -> None:
    """List enrolled sites: whether they are connected, and what they offer."""
    columns = ("site", "heard of", "version", "datasets", "GPUs", "free disk", "clock")
    show_listed(coordinator().get("/sites"), columns, _cells, as_json=as_json)


@app.command("revoke")
def revoke(name: SiteName) -> None:
    """Revoke a site: its key opens nothing from now on, and to come back it has to be invited. Needs an admin's key."""
    coordinator().delete(path_of("sites", name))
    typer.echo(f"{name} is revoked")


def _cells(site: dict[str, Any]) -> tuple[str, ...]:
    datasets = ", ".join(f"{card['dataset']} ({sum(card['num_images'].values())})" for card in site["datasets"])
    disk, clock_s = site["free_disk_bytes"], site["clock_offset_s"]
    return (
        site["name"],
        _heard_of(site["last_seen_s"], online=site["online"]),
        site["versions"]["fedward"],
        datasets,
        ", ".join(site["gpus"]),
        "" if disk is None else f"{disk / 1e9:.0f} GB",
        "" if clock_s is None else f"{clock_s:+.1f} s",
    )


def _heard_of(last_seen_s: float | None, *, online: bool) -> str:
    if last_seen_s is None:
        return "never"
    return "now" if online else f"{(time.time() - last_seen_s) / 60:.0f} min ago"
