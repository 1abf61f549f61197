"""``fedward run``: submits runs to a coordinator, and follows, stops and fetches them."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from fedward_cli.display.consoles import output, tell
from fedward_cli.display.listing import show_listed
from fedward_cli.display.moments import in_utc
from fedward_cli.display.tables import FIGURES_NOTE, folding, results_table
from fedward_cli.faults import watching
from fedward_cli.network.connection import ENVIRONMENT, coordinator, path_of
from fedward_cli.network.run_events import fetch_results, follow_to_the_end
from fedward_cli.options import AsJson, SpecFile, Workers
from fedward_cli.simulation.results import as_json as as_plain
from fedward_core.spec import Spec

if TYPE_CHECKING:
    from fedward_cli.network.coordinator import Coordinator

app = typer.Typer(no_args_is_help=True, help=f"Submit runs to a coordinator and follow them. {ENVIRONMENT}")

RunId = Annotated[str, typer.Argument(metavar="RUN", help="The run's id, see `fedward run list`.")]


@app.command("submit")
def submit(
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
    columns = ("run", "study", "state", "attempt", "submitted", "reason")
    show_listed(coordinator().get("/runs"), columns, _cells, as_json=as_json)


def _cells(run: dict[str, Any]) -> tuple[str, ...]:
    return (run["id"], run["study"], run["state"], str(run["attempt"]), in_utc(run["created_s"]), run["reason"])


@app.command("show")
def show(run: RunId, as_json: AsJson = False) -> None:
    """Show where a run stands."""
    found = coordinator().get(path_of("runs", run))
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    table = folding("", "", show_header=False)
    for key in ("id", "study", "state", "reason", "attempt", "engine", "sites", "spec_digest"):
        value = ", ".join(found[key]) if key == "sites" else str(found[key])
        table.add_row(key.replace("_", " "), escape(value))
    output().print(table)


@app.command("watch")
def watch(run: RunId) -> None:
    """Follow a run to its end, and show its results. Ctrl-C leaves the run as it is.

    The exit code is 0 if it completed, and 1 otherwise.

    For example `fedward run watch quickstart-1a2b3c4d`
    """
    asked = coordinator()
    with watching(f"run '{run}'"):
        follow_to_the_end(asked, run)
    _show_results(asked, run, machine=False)
    tell(f"Run '{escape(run)}' is completed. `fedward run download {escape(run)}` fetches what it leaves.")


@app.command("results")
def results(run: RunId, as_json: AsJson = False) -> None:
    """Show a run's newest figures: one row for each site, with n, and their mean. It may still be under way.

    For example `fedward run results quickstart-1a2b3c4d`
    """
    _show_results(coordinator(), run, machine=as_json)


@app.command("stop")
def stop(run: RunId, as_json: AsJson = False) -> None:
    """Ask a run to end. Asking for the end of what has ended is fine."""
    _ask(run, "stop", as_json=as_json)


@app.command("pause")
def pause(run: RunId, as_json: AsJson = False) -> None:
    """Ask a run to pause: it ends its work, keeps what it has reached, and waits until it is resumed."""
    _ask(run, "pause", as_json=as_json)


@app.command("resume")
def resume(run: RunId, as_json: AsJson = False) -> None:
    """Let a paused run go on from its last round, or one that failed, once what it failed of is mended."""
    _ask(run, "resume", as_json=as_json)


def _ask(run: str, what: str, *, as_json: bool) -> None:
    found = coordinator().post(path_of("runs", run, what))
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
    coordinator().download(path_of("runs", run, "artifacts", "download"), path)
    typer.echo(str(path))


def _show_results(coordinator: "Coordinator", run: str, *, machine: bool) -> None:
    """Print the newest figures, as a table or as JSON."""
    found = fetch_results(coordinator, run)
    if machine:
        typer.echo(json.dumps(as_plain(found), indent=2))
    elif found.final:
        split = Spec.parse(coordinator.get(path_of("runs", run))["spec"]).evaluate.split
        output().print(results_table(found, f"{run}: {split} split"))
        output().print(f"[dim]{FIGURES_NOTE}[/]")
    else:
        tell(f"Run '{escape(run)}' has told no figures: nothing was evaluated.")
