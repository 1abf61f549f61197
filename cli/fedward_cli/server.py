"""``fedward server``: the coordinator."""

from pathlib import Path
from typing import Annotated

import typer

from fedward_cli.consoles import tell

Host = Annotated[
    str, typer.Option("--host", help="The address to listen at. Beyond this machine, put a proxy with TLS before it.")
]
Port = Annotated[int, typer.Option("--port", min=0, max=65535, help="The port; 0 takes one that is free.")]
HomeFolder = Annotated[
    Path, typer.Option("--home", help="The folder in which the coordinator keeps everything.", file_okay=False)
]
Active = Annotated[int, typer.Option("--active", min=1, help="Runs that may be under way at a time; others wait.")]


def server(
    host: Host = "127.0.0.1", port: Port = 8080, home: HomeFolder = Path("fedward-home"), active: Active = 1
) -> None:
    """Start a coordinator that takes runs through REST and carries them out on this machine.

    At its first start it prints the key of the administrator, once. Ctrl-C ends it and every run that is under way;
    they go on when it is started again.

    For example `fedward server --home /srv/fedward --port 8080`
    """
    # The web framework is slow to import, and no other command needs it.
    from fedward_server.api.app import create_app  # noqa: PLC0415
    from fedward_server.api.serving import listening, serve  # noqa: PLC0415
    from fedward_server.home import Home  # noqa: PLC0415

    place = Home(home.absolute())
    listener = listening(host, port)
    address = f"http://{host}:{listener.getsockname()[1]}"
    with listener, place.claimed():
        tell(f"The coordinator listens at {address}/api/v1. Ctrl-C ends it.")
        serve(create_app(place, max_active=active, tell_key=_tell_key), listener)


def _tell_key(key: str) -> None:
    tell("The administrator's key, shown this once:")
    typer.echo(key)
