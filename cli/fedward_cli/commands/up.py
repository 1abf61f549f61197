"""``fedward up``: a simulated network of hospitals on this machine, to try things out on."""

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from fedward_cli.display.consoles import output, tell, way_to_program
from fedward_cli.simulation import hospitals
from fedward_core.spec import Spec

if TYPE_CHECKING:
    from fedward_cli.network.local_network import Network

DATASET = "simulated"
_IMAGES = 200  # of each hospital: enough to see a run learn something within a minute
_PX = 64
_POLL_S = 1.0


def up(
    home: Annotated[Path, typer.Option("--home", help="Where everything goes.", file_okay=False)] = Path("fedward-up"),
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="The coordinator's port.")] = 8080,
) -> None:
    """Start a network of three simulated hospitals on this machine: a coordinator, its SuperLink and three agents.

    Each is a process of its own, and the hospitals enrol by one-time tokens, as they would from other machines. It says
    what to type next. Ctrl-C ends everything; the same command takes it up again.

    For example `fedward up --home my-network`
    """
    from fedward_cli.network.local_network import network  # Flower is slow to import
    from fedward_cli.network.sites import sites_of

    spec = _spec()
    data = hospitals.simulated(home / "data", spec, images=_IMAGES)
    tell("The network starts; this takes a moment.")
    with network(home, sites_of(data, hospitals.taking_part(data, spec)), dataset=DATASET, port=port) as running:
        _tell_what_to_type(running)
        while True:
            running.check()
            time.sleep(_POLL_S)


def _spec() -> Spec:
    """What the hospitals' images are made for."""
    stage = {"name": "only", "method": "rehearsal", "rounds": 1}
    return Spec.parse({"name": "up", "dataset": {"name": DATASET, "image_px": _PX}, "stages": [stage]})


def _rehearsal() -> dict[str, object]:
    """A request that can be typed."""
    from fedward_cli.network.local_network import STUDY

    stage = {"name": "only", "method": "rehearsal", "rounds": 5}
    return {
        "study": STUDY,
        "run": "drill-1",
        "spec": {"name": "drill", "dataset": {"name": DATASET}, "stages": [stage]},
    }


def _tell_what_to_type(running: "Network") -> None:
    from fedward_cli.network.local_network import STUDY

    processes = ", ".join(f"{name} {pid}" for name, pid in running.processes.items())
    output().print(f"Processes: {escape(processes)}")
    output().print("\nIn another terminal:")
    for line in (
        *filter(None, [way_to_program()]),
        f"export FEDWARD_URL={running.url} FEDWARD_KEY={running.key}",
        "fedward site list",
        f"fedward run submit examples/quickstart.yaml --study {STUDY} --id quickstart-1",
        "fedward run watch quickstart-1",
    ):
        output().print(f"  {line}", markup=False, soft_wrap=True)
    output().print("\nOr by curl, a rehearsal that reads the hospitals' cards and trains nothing:")
    header = '-H "Authorization: Bearer $FEDWARD_KEY"'
    for line in (
        f"curl {header} $FEDWARD_URL/api/v1/runs --json '{json.dumps(_rehearsal())}'",
        f"curl -N {header} $FEDWARD_URL/api/v1/runs/drill-1/events/stream",
    ):
        output().print(f"  {line}", markup=False, soft_wrap=True)
    tell("\nCtrl-C ends the network.")
