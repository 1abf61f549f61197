"""``fedward run``: submits runs to a coordinator, and follows, stops and fetches them."""

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from fedward_cli.connection import ENVIRONMENT, coordinator
from fedward_cli.consoles import errors, output, tell
from fedward_cli.options import AsJson, SpecFile, Workers
from fedward_cli.progress import shown
from fedward_core.errors import RoundError
from fedward_core.events import Event, EventKind
from fedward_core.spec import Spec

if TYPE_CHECKING:
    from fedward_cli.coordinator import Coordinator

app = typer.Typer(no_args_is_help=True, help=f"Submit runs to a coordinator and follow them. {ENVIRONMENT}")

RunId = Annotated[str, typer.Argument(metavar="RUN", help="The run's id, see `fedward run list`.")]
# Decided here: a coordinator that is started again answers long before that.
AWAY_S = 60.0


@app.command("submit")
def submit(  # noqa: PLR0913, PLR0917 - one argument for each option
    spec: SpecFile,
    study: Annotated[str, typer.Option("--study", help="The study whose sites take part.")],
    run: Annotated[
        str | None, typer.Option("--id", help="An id for the run; made from the spec's name if not.")
    ] = None,
    engine: Annotated[
        str | None, typer.Option("--engine", help="What carries the run out; chosen by the study's kind if not.")
    ] = None,
    workers: Workers = 1,
    as_json: AsJson = False,
) -> None:
    """Submit a run, and print its id. Submitting the same with the same id gives the run that is there.

    For example `fedward run submit examples/quickstart.yaml --study chest`
    """
    body = {"study": study, "spec": Spec.read(spec).model_dump(mode="json"), "workers": workers}
    chosen = {"run": run, "engine": engine}
    submitted = coordinator().post("/runs", body | {key: value for key, value in chosen.items() if value})
    typer.echo(json.dumps(submitted, indent=2) if as_json else submitted["id"])


@app.command("list")
def list_runs(as_json: AsJson = False) -> None:
    """List runs, the newest first."""
    runs = coordinator().get("/runs")
    if as_json:
        typer.echo(json.dumps(runs, indent=2))
        return
    table = Table("run", "study", "state", "attempt", "submitted", "reason")
    for run in runs:
        started = datetime.fromtimestamp(run["created_s"], tz=UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        cells = (run["id"], run["study"], run["state"], str(run["attempt"]), started, run["reason"])
        table.add_row(*map(escape, cells))
    output().print(table)


@app.command("show")
def show(run: RunId, as_json: AsJson = False) -> None:
    """Show where a run stands."""
    found = coordinator().get(f"/runs/{run}")
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    table = Table(show_header=False)
    for key in ("id", "study", "state", "reason", "attempt", "engine", "sites", "spec_digest"):
        value = ", ".join(found[key]) if key == "sites" else str(found[key])
        table.add_row(key.replace("_", " "), escape(value))
    output().print(table)


@app.command("watch")
def watch(run: RunId) -> None:
    """Follow a run to its end. The exit code is 0 if it completed, and 1 otherwise. Ctrl-C leaves the run as it is.

    For example `fedward run watch quickstart-1a2b3c4d`
    """
    follow_to_the_end(coordinator(), run)
    tell(f"Run '{escape(run)}' is completed. `fedward run download {escape(run)}` fetches what it leaves.")


@app.command("stop")
def stop(run: RunId, as_json: AsJson = False) -> None:
    """Ask a run to end. Asking for the end of what has ended is fine."""
    found = coordinator().post(f"/runs/{run}/stop")
    typer.echo(json.dumps(found, indent=2) if as_json else f"{found['id']} is {found['state']}")


@app.command("pause")
def pause(run: RunId, as_json: AsJson = False) -> None:
    """Ask a run to pause: it ends its work, keeps what it has reached, and waits until it is resumed."""
    found = coordinator().post(f"/runs/{run}/pause")
    typer.echo(json.dumps(found, indent=2) if as_json else f"{found['id']} is {found['state']}")


@app.command("resume")
def resume(run: RunId, as_json: AsJson = False) -> None:
    """Let a paused run go on, from its last round."""
    found = coordinator().post(f"/runs/{run}/resume")
    typer.echo(json.dumps(found, indent=2) if as_json else f"{found['id']} is {found['state']}")


@app.command("download")
def download(
    run: RunId,
    out: Annotated[
        Path | None, typer.Option("--out", help="The zip file; RUN.zip in this folder by default.", dir_okay=False)
    ] = None,
) -> None:
    """Fetch what a run that has ended leaves as a zip file: spec, events, metrics, final weights and digests."""
    path = out or Path(f"{run}.zip")
    coordinator().download(f"/runs/{run}/artifacts/download", path)
    typer.echo(str(path))


def follow_to_the_end(coordinator: "Coordinator", run: str) -> None:
    """Show a run while it happens.

    Raises:
        RoundError: It ended otherwise than completed.
        CoordinatorError: The coordinator is away for long, or refuses.
    """
    found = coordinator.get(f"/runs/{run}")
    with shown(errors(), Spec.parse(found["spec"]), len(found["sites"])) as listen:
        _follow(coordinator, run, listen)
    ended = coordinator.get(f"/runs/{run}")
    if ended["state"] != "completed":
        raise RoundError(f"run '{run}' is {ended['state']}: {ended['reason']}")


def _follow(coordinator: "Coordinator", run: str, listen: Callable[[Event], None]) -> None:
    """Tell every event once, over as many connections as it takes while the coordinator is away and comes back."""
    from fedward_cli.coordinator import UnreachableError  # noqa: PLC0415 - httpx is slow to import

    seen, heard_s = 0, time.monotonic()
    while True:
        try:
            for event in coordinator.events(run, seen):
                seen, heard_s = event["sequence"], time.monotonic()
                _tell(event, listen)
        except UnreachableError:
            if time.monotonic() - heard_s > AWAY_S:
                raise
            time.sleep(1)
        else:
            return


def _tell(event: dict[str, Any], listen: Callable[[Event], None]) -> None:
    if event["kind"] in set(EventKind):
        listen(Event.model_validate({key: value for key, value in event.items() if key != "sequence"}))
    elif reason := event["facts"].get("reason"):
        tell(escape(f"{event['site'] or event['facts'].get('to', event['kind'])}: {reason}"))
