"""The ``fedward`` command. Each group of commands has a file of its own; torch is imported where a network is built."""

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
    weights,
    zoo,
)
from fedward_cli.display.consoles import show_every_sign
from fedward_cli.faults import PoliteGroup
from fedward_cli.network.proxies import spare_this_machine
from fedward_core import __version__

app = typer.Typer(
    cls=PoliteGroup,
    name="fedward",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_show_locals=False,
    suggest_commands=False,  # click does so, and the two would say it twice
)
zoo.app.command("export")(export.export)
zoo.app.command("map")(class_map.map_classes)

_HERE, _COORDINATOR, _HOSPITAL = "On one machine", "A coordinator", "A hospital"  # panels of the help
app.command("demo", rich_help_panel=_HERE)(demo.demo)
app.command("simulate", rich_help_panel=_HERE)(simulate.simulate)
app.command("train", rich_help_panel=_HERE)(simulate.train)
app.command("compare", rich_help_panel=_HERE)(compare.compare)
app.command("predict", rich_help_panel=_HERE)(predict.predict)
app.command("explain", rich_help_panel=_HERE)(explain.explain)
app.command("up", rich_help_panel=_HERE)(up.up)
app.command("doctor", rich_help_panel=_HERE)(doctor.doctor)
app.add_typer(zoo.app, name="zoo", rich_help_panel=_HERE)
app.add_typer(data.app, name="data", rich_help_panel=_HERE)
app.command("server", rich_help_panel=_COORDINATOR)(server.server)
app.add_typer(runs.app, name="run", rich_help_panel=_COORDINATOR)
app.add_typer(studies.app, name="study", rich_help_panel=_COORDINATOR)
app.add_typer(weights.app, name="weights", rich_help_panel=_COORDINATOR)
app.add_typer(sites.app, name="site", rich_help_panel=_COORDINATOR)
app.add_typer(keys.app, name="key", rich_help_panel=_COORDINATOR)
app.add_typer(agent.app, name="agent", rich_help_panel=_HOSPITAL)
app.add_typer(jobs.app, name="job", rich_help_panel=_HOSPITAL)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"fedward {__version__}")
        raise typer.Exit


@app.callback()
def fedward(
    version: Annotated[  # noqa: ARG001 - its callback acts on it
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version, and end.")
    ] = False,
) -> None:
    """Federated learning for medical imaging: hospitals train together while their images stay home.

    New here? `fedward demo` simulates three hospitals and compares four ways to train, in about seven minutes.

    One YAML file, the *spec*, describes a run. `fedward zoo list` shows what a spec can choose, `fedward simulate` runs
    it over several simulated hospitals, `fedward train` at one, and `fedward compare` sets several specs side by side.
    """
    show_every_sign()
    spare_this_machine()
