"""``fedward server``: the coordinator."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedward_cli.display.consoles import tell
from fedward_cli.options import finite
from fedward_core.atomic import write_secret
from fedward_core.frozen_weights import MOST_GB
from fedward_core.loopback import HERE

if TYPE_CHECKING:
    from fedward_server.tls import TLSFiles

Host = Annotated[
    str, typer.Option("--host", help="The address to listen at. Beyond this machine, give the files for TLS.")
]
Port = Annotated[int, typer.Option("--port", min=0, max=65535, help="The port; 0 takes one that is free.")]
HomeFolder = Annotated[
    Path, typer.Option("--home", help="The folder in which the coordinator keeps everything.", file_okay=False)
]
Active = Annotated[int, typer.Option("--active", min=1, help="Runs that may be under way at a time; others wait.")]
TLSFile = Path | None
Certificate = Annotated[TLSFile, typer.Option("--tls-cert", help="The coordinator's certificate, PEM.", dir_okay=False)]
PrivateKey = Annotated[TLSFile, typer.Option("--tls-key", help="Its private key, PEM.", dir_okay=False)]
Authority = Annotated[
    TLSFile, typer.Option("--tls-ca", help="The certificate of the authority that signed it, PEM.", dir_okay=False)
]
DatabaseAddress = Annotated[
    str,
    typer.Option(
        "--database",
        envvar="FEDWARD_DATABASE",
        help="The address of a PostgreSQL database; without it, a file in the home folder.",
    ),
]
FleetAddress = Annotated[
    str, typer.Option("--fleet", metavar="HOST:PORT", help="Where SuperNodes connect, if not where sites enrol.")
]
Heartbeat = Annotated[
    float, typer.Option("--heartbeat", min=0.1, callback=finite, help="Seconds between two reports of a site.")
]
LargestWeights = Annotated[
    float,
    typer.Option(
        "--weights-gb", min=0.001, callback=finite, help="The largest file of frozen weights to take, in gigabytes."
    ),
]
KeyFile = Annotated[
    Path | None,
    typer.Option("--key-file", help="Where the administrator's first key goes, in place of standard output."),
]

_PLAIN = (
    "It speaks plain HTTP beyond this machine: keys can be read on the way, and whoever reaches the port may join as a "
    "site's node. Give the three --tls files."
)


def server(
    host: Host = "127.0.0.1",
    port: Port = 8080,
    home: HomeFolder = Path("fedward-home"),
    active: Active = 1,
    tls_cert: Certificate = None,
    tls_key: PrivateKey = None,
    tls_ca: Authority = None,
    database: DatabaseAddress = "",
    fleet: FleetAddress = "",
    heartbeat: Heartbeat = 5.0,
    weights_gb: LargestWeights = MOST_GB,
    key_file: KeyFile = None,
) -> None:
    """Start a coordinator that takes runs through REST and carries them out, here or at the sites that have enrolled.

    At its first start it prints the key of the administrator, once. Ctrl-C ends it and every run that is under way;
    they go on when it is started again.

    For example `fedward server --home /srv/fedward --port 8080`
    """
    # The web framework is slow to import, and no other command needs it.
    from fedward_server.api.app import create_app
    from fedward_server.api.serving import listening, serve
    from fedward_server.database.address import read_address
    from fedward_server.home import Home

    tls = _tls_files(tls_cert, tls_key, tls_ca)
    place = Home(home.absolute())
    listener = listening(host, port)
    address = f"{'https' if tls else 'http'}://{host}:{listener.getsockname()[1]}"
    with listener, place.claimed():
        application = create_app(
            place,
            max_active=active,
            tell_key=_teller(key_file),
            database=read_address(database) if database else None,
            tls=tls,
            fleet_address=fleet,
            heartbeat_s=heartbeat,
            weights_gb=weights_gb,
        )
        tell(f"The coordinator listens at {address}/api/v1. Ctrl-C ends it.")
        if tls is None and host not in HERE:
            tell(_PLAIN)
        serve(application, listener, tls=tls)


def _tls_files(certificate: Path | None, key: Path | None, authority: Path | None) -> "TLSFiles | None":
    if certificate is None and key is None and authority is None:
        return None
    if certificate is None or key is None or authority is None:
        raise typer.BadParameter("TLS needs all three of --tls-cert, --tls-key and --tls-ca")
    from fedward_server.tls import TLSFiles  # with the web framework

    return TLSFiles(certificate=certificate, key=key, authority=authority)


def _teller(file: Path | None) -> Callable[[str], None]:
    return _print_key if file is None else lambda key: write_secret(file, f"{key}\n".encode())


def _print_key(key: str) -> None:
    tell("The administrator's key, shown this once:")
    typer.echo(key)
