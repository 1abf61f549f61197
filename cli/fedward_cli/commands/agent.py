"""``fedward agent``: the one service that a hospital runs."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from fedward_cli.display.consoles import output, tell
from fedward_cli.display.tables import folding
from fedward_cli.options import AsJson
from fedward_core import registry
from fedward_core.errors import SpecError
from fedward_core.packages import installed_packages

if TYPE_CHECKING:
    from fedward_client.agent.home import AgentHome

app = typer.Typer(no_args_is_help=True, help="Enrol this site with a coordinator, and serve it.")

HomeFolder = Annotated[
    Path, typer.Option("--home", help="The folder in which the agent keeps everything.", file_okay=False)
]
HOME = Path("fedward-agent")


@app.command("enrol")
def enrol(
    coordinator: Annotated[str, typer.Option("--coordinator", metavar="URL", help="The coordinator's address.")],
    token: Annotated[
        str, typer.Option("--token", envvar="FEDWARD_TOKEN", help="The one-time token of the invitation.")
    ],
    home: HomeFolder = HOME,
    ca: Annotated[
        Path | None,
        typer.Option(
            "--ca",
            help="The certificate of the authority that signed the coordinator's, if it is no public one.",
            dir_okay=False,
        ),
    ] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Allow plain HTTP to another machine: for trials with simulated data.")
    ] = False,
) -> None:
    """Enrol this site: make its key, tell the coordinator the public half, and lay out a policy to be edited.

    For example `fedward agent enrol --coordinator https://fedward.example.org --token fi_... --home /srv/fedward-agent`
    """
    from fedward_client.agent.enrolment import enrol as enrol_site  # httpx is slow to import
    from fedward_server.flower.bundle import build_bundle

    place = _home(home)
    enrolled = enrol_site(place, coordinator, token, authority=ca, insecure=insecure)
    shown = escape(str(home))
    tell(f"This is site '{enrolled.membership.site}' now. Three steps remain:")
    tell(f"1. Name the site's datasets, and what runs may ask for, in {escape(str(home / place.policy.name))}.")
    tell(f"2. Approve this release: fedward agent approve --release --home {shown}")
    tell(f"   Its app bundle has the digest {build_bundle().digest}")
    tell(f"3. Start the agent: fedward agent run --home {shown}")


@app.command("run")
def run(home: HomeFolder = HOME) -> None:
    """Serve this site until Ctrl-C or SIGTERM: report, answer proposals by its policy, and train.

    For example `fedward agent run --home /srv/fedward-agent`
    """
    from fedward_client.agent.service import serve  # Flower is slow to import

    serve(_home(home))


@app.command("approve")
def approve(
    digest: Annotated[str, typer.Argument(help="The SHA-256 of an app bundle, 64 hexadecimal digits.")] = "",
    package: Annotated[
        str, typer.Option("--package", metavar="NAME", help="Take a package of methods as it is installed here.")
    ] = "",
    release: Annotated[bool, typer.Option("--release", help="Take the bundle of the release installed here.")] = False,
    withdraw: Annotated[bool, typer.Option("--withdraw", help="Approve it no longer.")] = False,
    home: HomeFolder = HOME,
) -> None:
    """Let an app bundle or a package of methods run at this site, signed with the site's key.

    Nothing runs that was not approved. For example `fedward agent approve --release --home /srv/fedward-agent`
    """
    if [bool(digest), bool(package), release].count(True) != 1:
        raise typer.BadParameter(
            "give one of three: the digest of an app bundle, --release for the one that is installed here, or --package"
        )
    from fedward_client.agent.approvals import Approvals  # cryptography is slow to import
    from fedward_client.agent.key import SiteKey
    from fedward_client.agent.policy import read_policy

    place = _home(home)
    app_digest = _release() if release else _package(package) if package else digest
    approvals = Approvals(place.approvals, SiteKey.read(place.key))
    if withdraw:
        approvals.withdraw(app_digest)
    else:
        approvals.approve(app_digest, simulated=read_policy(place.policy).simulated)
    typer.echo(f"{app_digest} is {'approved no longer' if withdraw else 'approved'}")


@app.command("status")
def status(home: HomeFolder = HOME, as_json: AsJson = False) -> None:
    """Show what this site is, what it allows, and in which runs it takes part."""
    found = _status(_home(home))
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    table = folding("", "", show_header=False)
    for name, value in found.items():
        table.add_row(name.replace("_", " "), escape(", ".join(value) if isinstance(value, list) else str(value)))
    output().print(table)


def _status(home: "AgentHome") -> dict[str, str | list[str]]:
    from fedward_client.agent.approvals import Approvals  # cryptography is slow to import
    from fedward_client.agent.consents import Consents
    from fedward_client.agent.key import SiteKey
    from fedward_client.agent.membership import read_enrolled
    from fedward_client.agent.policy import read_policy

    enrolled, policy = read_enrolled(home), read_policy(home.policy)
    return {
        "site": enrolled.membership.site,
        "coordinator": enrolled.url,
        "datasets": sorted(policy.datasets),
        "approved": sorted(Approvals(home.approvals, SiteKey.read(home.key)).in_force(tls=enrolled.tls)),
        "takes_part_in": [proposal.run for proposal in Consents(home.consents).all()],
        "agent": "runs" if home.is_claimed else "does not run",
    }


def _home(folder: Path) -> "AgentHome":
    from fedward_client.agent.home import AgentHome

    return AgentHome(folder.absolute())


def _package(name: str) -> str:
    installed = {package.name: package for package in installed_packages()}
    if name not in installed:
        raise SpecError(registry.unknown(f"package of methods '{name}'", name, tuple(installed)))
    return installed[name].sha256


def _release() -> str:
    from fedward_server.flower.bundle import build_bundle  # Flower is slow to import

    return build_bundle().digest
