"""The ``fedward`` command. Each group of commands has a file of its own; only commands that train import torch."""

from typing import Annotated

import typer

from fedward_cli.commands import (
    agent,
    class_map,
    compare,
    data,
    demo,
    doctor,
    explain,
    export,
    jobs,
    keys,
    predict,
    runs,
    server,
    simulate,
    sites,
    studies,
    up,
    zoo,
)
from fedward_cli.faults import PoliteGroup
from fedward_core import __version__

app = typer.Typer(
    cls=PoliteGroup,
    name="fedward",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_show_locals=False,
)
zoo.app.command("export")(export.export)
zoo.app.command("map")(class_map.map_classes)
app.add_typer(zoo.app, name="zoo")
app.add_typer(data.app, name="data")
app.add_typer(runs.app, name="run")
app.add_typer(studies.app, name="study")
app.add_typer(sites.app, name="site")
app.add_typer(keys.app, name="key")
app.add_typer(agent.app, name="agent")
app.add_typer(jobs.app, name="job")
app.command("train")(simulate.train)
app.command("simulate")(simulate.simulate)
app.command("explain")(explain.explain)
app.command("predict")(predict.predict)
app.command("compare")(compare.compare)
app.command("demo")(demo.demo)
app.command("server")(server.server)
app.command("up")(up.up)
app.command("doctor")(doctor.doctor)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"fedward {__version__}")
        raise typer.Exit


@app.callback()
def fedward(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version, and end.")
    ] = False,
) -> None:
    """Federated learning for medical imaging: hospitals train together while their images stay home.

    New here? `fedward demo` simulates three hospitals and compares four ways to train, in about five minutes.

    One YAML file, the *spec*, describes a run. `fedward zoo list` shows what a spec can choose, `fedward simulate` runs
    it over several simulated hospitals, `fedward train` at one, and `fedward compare` sets several specs side by side.
    """
