"""``fedward job``: what a hospital trains for itself, queued beside federations by its agent."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from fedward_cli.commands.agent import HOME, HomeFolder
from fedward_cli.display.consoles import errors, tell
from fedward_cli.display.listing import show_listed
from fedward_cli.faults import FAILED, watching
from fedward_cli.options import AsJson, RayWorkers, SpecFile
from fedward_core.spec import Spec

if TYPE_CHECKING:
    from fedward_client.agent.home import AgentHome
    from fedward_client.jobs.job import LocalJob
    from fedward_client.jobs.queue import JobQueue

app = typer.Typer(no_args_is_help=True, help="Train at this site alone, beside federations.")

POLL_S = 0.5
JobId = Annotated[str, typer.Argument(help="The job's id, see `fedward job list`.")]


@app.command("submit")
def submit(spec: SpecFile, home: HomeFolder = HOME, ray_workers: RayWorkers = 1, as_json: AsJson = False) -> None:
    """Queue a spec: the agent runs it on the site's own data, a federation of one. Its policy says on which data.

    For example `fedward job submit my-study.yaml --home /srv/fedward-agent`
    """
    from fedward_client.agent.policy import read_policy  # most commands need no client

    policy = read_policy(_home(home).policy)
    _print(_queue(home).submit(Spec.read(spec), policy, ray_workers=ray_workers), machine=as_json)


@app.command("list")
def list_jobs(home: HomeFolder = HOME, as_json: AsJson = False) -> None:
    """List the site's jobs, the oldest first."""
    from fedward_client.jobs.queue import damage_of  # most commands need no client

    queue, columns = _queue(home), ("id", "dataset", "state", "submitted", "reason")
    show_listed([job.model_dump(mode="json") for job in queue.all()], columns, _cells, as_json=as_json)
    for id_ in queue.damaged():
        tell(f"{escape(damage_of(id_))}.")


def _cells(job: dict[str, Any]) -> tuple[str, ...]:
    submitted = time.strftime("%Y-%m-%d %H:%M", time.localtime(job["submitted_s"]))
    return (job["id"], job["dataset"], job["state"], submitted, job["reason"])


@app.command("show")
def show(job: JobId, home: HomeFolder = HOME, as_json: AsJson = False) -> None:
    """Show where a job stands."""
    _print(_queue(home).read(job), machine=as_json)


@app.command("watch")
def watch(job: JobId, home: HomeFolder = HOME) -> None:
    """Follow a job to its end: exit code 0 if it completed, 1 otherwise. Ctrl-C ends the watching, not the job."""
    from fedward_cli.display.progress import shown  # slow to import
    from fedward_cli.simulation.event_file import EventFile

    queue = _queue(home)
    queue.read(job)
    folder = queue.folder_of(job)
    told = EventFile(folder / "run")
    with watching(f"job '{job}'"), shown(errors(), Spec.read(folder / "spec.yaml"), 1) as listen:
        while True:
            found = queue.read(job)  # before the events, so that none of an ended job is missed
            for event in told.more():
                listen(event)
            if found.state.is_end:
                break
            time.sleep(POLL_S)
    _print(found, machine=False)
    if found.state != "completed":
        raise typer.Exit(FAILED)


@app.command("stop")
def stop(job: JobId, home: HomeFolder = HOME) -> None:
    """Ask the agent to end a job; asking again is fine."""
    _queue(home).ask_to_stop(job)
    tell(f"Job '{escape(job)}' is asked to end; the agent does so within a second.")


@app.command("release")
def release(
    job: JobId,
    home: HomeFolder = HOME,
    out: Annotated[Path | None, typer.Option("--out", help="The zip file; JOB.zip by default.", dir_okay=False)] = None,
) -> None:
    """Write the results of a completed job to a zip file: weights, figures and counts, nothing private.

    For example `fedward job release my-study-1 --home /srv/fedward-agent`
    """
    from fedward_client.jobs.release import release as write  # most commands need no client

    out = out or Path(f"{job}.zip")
    write(_queue(home), job, out)
    tell(f"The results of job '{escape(job)}' are in '{escape(str(out))}'.")


def _home(folder: Path) -> "AgentHome":
    from fedward_client.agent.home import AgentHome  # most commands need no client

    return AgentHome(folder.absolute())


def _queue(home: Path) -> "JobQueue":
    from fedward_client.jobs.queue import JobQueue  # most commands need no client

    return JobQueue(_home(home).jobs)


def _print(job: "LocalJob", *, machine: bool) -> None:
    if machine:
        typer.echo(job.model_dump_json(indent=2))
        return
    typer.echo(f"{job.id} is {job.state}" + (f": {job.reason}" if job.reason else ""))
