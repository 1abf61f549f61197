"""``fedward doctor``: looks this machine over in plain words, before a run finds out."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from fedward_cli.checkup.finding import Finding, State
from fedward_cli.display.consoles import output
from fedward_cli.display.tables import folding
from fedward_cli.faults import FAILED
from fedward_cli.options import AsJson

_SIGNS = {State.WELL: "[green]well[/]", State.WARNING: "[yellow]warning[/]", State.FAULT: "[red]fault[/]"}


def doctor(
    site: Annotated[
        Path | None, typer.Option("--site", help="The home folder of this machine's agent.", file_okay=False)
    ] = None,
    server: Annotated[
        Path | None, typer.Option("--server", help="The home folder of this machine's coordinator.", file_okay=False)
    ] = None,
    database: Annotated[
        str, typer.Option("--database", help="The address of the coordinator's PostgreSQL database.")
    ] = "",
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="The port of a coordinator here.")] = 8080,
    as_json: AsJson = False,
) -> None:
    """Look this machine over, in plain words. The exit code is 1 if anything would stop a run.

    With `--site`, the site's enrolment, policy, datasets and approvals too, and the way to its coordinator; with
    `--server`, the coordinator's database. Otherwise `FEDWARD_URL`, if it is set, says which coordinator to look for.

    For example `fedward doctor --site /srv/fedward-agent`
    """
    findings = tuple(_findings(site, server, database, port))
    if as_json:
        typer.echo(json.dumps([finding.model_dump() for finding in findings], indent=2))
    else:
        _show(findings)
    if any(finding.state is State.FAULT for finding in findings):
        raise typer.Exit(FAILED)


def _findings(site: Path | None, server: Path | None, database: str, port: int) -> Iterator[Finding]:
    # What is looked at decides what is imported: a hospital has no database, and a coordinator no agent.
    from fedward_cli.checkup.machine import examine_machine

    yield from examine_machine(site or server or Path(), port)
    if site is not None:
        yield from _site(site)
    elif url := os.environ.get("FEDWARD_URL"):
        yield from _way(url, Path(os.environ["FEDWARD_CA"]) if os.environ.get("FEDWARD_CA") else None)
    if server is not None or database:
        from fedward_cli.checkup.database import examine_database

        yield from examine_database(server or Path(), database)


def _site(folder: Path) -> Iterator[Finding]:
    from fedward_cli.checkup.site import examine_site
    from fedward_client.agent.errors import AgentError
    from fedward_client.agent.home import AgentHome
    from fedward_client.agent.membership import authority_of, read_enrolled
    from fedward_server.flower.bundle import build_bundle

    home = AgentHome(folder.absolute())
    yield from examine_site(home, build_bundle().digest)
    try:
        url = read_enrolled(home).url
    except AgentError:
        return  # it was said already
    yield from _way(url, authority_of(home))


def _way(url: str, authority: Path | None) -> Iterator[Finding]:
    from fedward_cli.checkup.network import examine_way

    yield from examine_way(url, authority)


def _show(findings: tuple[Finding, ...]) -> None:
    table = folding("", "", "found")
    for finding in findings:
        table.add_row(_SIGNS[finding.state], escape(finding.about), escape(finding.words))
    output().print(table)
