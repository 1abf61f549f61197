"""``fedward job``: what a hospital does for itself, queued beside federations by its agent."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from fedward_cli.commands.agent import HOME, HomeFolder
from fedward_cli.commands.explain import NUM_IMAGES, MapName, NumImages
from fedward_cli.commands.opening import Kept, open_model
from fedward_cli.display.consoles import errors, output, tell
from fedward_cli.display.listing import show_listed
from fedward_cli.display.moments import in_utc
from fedward_cli.display.tables import FIGURES_NOTE, results_table
from fedward_cli.faults import FAILED, watching
from fedward_cli.options import AsJson, BestWeights, FinishedRun, RayWorkers, SpecFile, SplitName, StageName
from fedward_core.cards import Split
from fedward_core.spec import Spec

if TYPE_CHECKING:
    from fedward_client.agent.home import AgentHome
    from fedward_client.jobs.job import LocalJob
    from fedward_client.jobs.queue import JobQueue
    from fedward_client.jobs.work import Explain, Predict
    from fedward_models.inference.finished_model import FinishedModel

app = typer.Typer(no_args_is_help=True, help="Train, predict and explain at this site alone, beside federations.")

POLL_S = 0.5
DatasetName = Annotated[
    str | None, typer.Option("--dataset", help="The dataset, by its name in site.yaml; that of the run by default.")
]
JobId = Annotated[str, typer.Argument(help="The job's id, see `fedward job list`.")]


@app.command("submit")
def submit(spec: SpecFile, home: HomeFolder = HOME, ray_workers: RayWorkers = 1, as_json: AsJson = False) -> None:
    """Queue a spec: the agent runs it on the site's own data, a federation of one. Its policy says on which data.

    For example `fedward job submit my-study.yaml --home /srv/fedward-agent`
    """
    from fedward_client.agent.policy import read_policy  # most commands need no client

    policy = read_policy(_home(home).policy)
    _print(_queue(home).submit(Spec.read(spec), policy, ray_workers=ray_workers), machine=as_json)


@app.command("predict")
def predict(
    run: FinishedRun,
    home: HomeFolder = HOME,
    dataset: DatasetName = None,
    stage: StageName = None,
    best: BestWeights = False,
    kept: Kept = None,
    split: SplitName = Split.TEST,
    as_json: AsJson = False,
) -> None:
    """Queue what `fedward predict` does, over the site's own data. The model is copied into the job's folder.

    For example `fedward job predict /srv/fedward-agent/jobs/my-study-1/run --home /srv/fedward-agent`
    """
    from fedward_client.jobs.work import Predict  # most commands need no client

    model = _opened(run, home, stage, best=best, kept=kept)
    model.check_classes()
    work = Predict(stage=model.stage.name, best=best, kept=kept is not None, split=split)
    _print(_submitted(model, run, work, home, dataset, kept), machine=as_json)


@app.command("explain")
def explain(
    run: FinishedRun,
    home: HomeFolder = HOME,
    dataset: DatasetName = None,
    kind: MapName = "gradients",
    images: NumImages = NUM_IMAGES,
    stage: StageName = None,
    best: BestWeights = False,
    kept: Kept = None,
    split: SplitName = Split.TEST,
    as_json: AsJson = False,
) -> None:
    """Queue what `fedward explain` does, over the site's own data. The model is copied into the job's folder.

    For example `fedward job explain /srv/fedward-agent/jobs/my-study-1/run --home /srv/fedward-agent --images 20`
    """
    from fedward_client.jobs.work import Explain  # most commands need no client
    from fedward_models.inference.explaining import check_has_maps

    model = _opened(run, home, stage, best=best, kept=kept)
    check_has_maps(model, kind)
    work = Explain(stage=model.stage.name, best=best, kept=kept is not None, split=split, map=kind, images=images)
    _print(_submitted(model, run, work, home, dataset, kept), machine=as_json)


@app.command("list")
def list_jobs(home: HomeFolder = HOME, as_json: AsJson = False) -> None:
    """List the site's jobs, the oldest first."""
    from fedward_client.jobs.queue import damage_of  # most commands need no client

    queue, columns = _queue(home), ("id", "work", "dataset", "state", "submitted", "reason")
    show_listed([job.model_dump(mode="json") for job in queue.all()], columns, _cells, as_json=as_json)
    for id_ in queue.damaged():
        tell(f"{escape(damage_of(id_))}.")


def _cells(job: dict[str, Any]) -> tuple[str, ...]:
    facts = (job["id"], job["work"]["kind"], job["dataset"], job["state"])
    return (*facts, in_utc(job["submitted_s"]), job["reason"])


@app.command("show")
def show(job: JobId, home: HomeFolder = HOME, as_json: AsJson = False) -> None:
    """Show where a job stands."""
    _print(_queue(home).read(job), machine=as_json)


@app.command("watch")
def watch(job: JobId, home: HomeFolder = HOME) -> None:
    """Follow a job to its end: exit code 0 if it completed, 1 otherwise. Ctrl-C ends the watching, not the job."""
    queue = _queue(home)
    with watching(f"job '{job}'"), _telling(queue.read(job), queue.folder_of(job)) as tell_more:
        while True:
            found = queue.read(job)  # before the events, so that none of an ended job is missed
            tell_more()
            if found.state.is_end:
                break
            time.sleep(POLL_S)
    _print(found, machine=False)
    if found.state != "completed":
        raise typer.Exit(FAILED)
    _show_results(found, queue.folder_of(job))


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
    patients: Annotated[
        bool,
        typer.Option(
            "--patients",
            help="Also what names or shows patients: predictions.csv of a job that predicted, the pictures and scans "
            "of one that explained.",
        ),
    ] = False,
) -> None:
    """Write the results of a completed job to a zip file, nothing private unless --patients says so.

    Of a training they are weights, figures and counts; of predictions, figures and the picture of their reliability.

    For example `fedward job release my-study-1 --home /srv/fedward-agent`
    """
    from fedward_client.jobs.release import release as write  # most commands need no client

    out = out or Path(f"{job}.zip")
    write(_queue(home), job, out, patients=patients)
    tell(f"The results of job '{escape(job)}' are in '{escape(str(out))}'.")
    if patients:
        tell("They name or show patients: give them to those only who may see these.")


def _show_results(job: "LocalJob", folder: Path) -> None:
    """The figures of a training, as `fedward train` shows them, and where all that a job has written lies."""
    from fedward_cli.simulation.results import read_results  # slow to import
    from fedward_client.jobs.work import RESULTS

    place = folder / ("run" if job.work.kind == "train" else RESULTS)
    if job.work.kind == "train" and (results := read_results(place)).final:
        split = Spec.read(folder / "spec.yaml").evaluate.split
        output().print(results_table(results, f"{job.id}: {split} split", sent=False))
        output().print(f"[dim]{FIGURES_NOTE}[/]")
    tell(f"Its results are in '{escape(str(place))}'.")


def _opened(run: Path, home: Path, stage: str | None, *, best: bool, kept: Path | None) -> "FinishedModel":
    """A model, opened once before it is queued, so that what is wrong with it is told to whoever asks."""
    from fedward_models.frozen import FOLDERS, folders_with

    before = os.environ.get(FOLDERS)
    os.environ.update(folders_with(_home(home).weights))  # as the job will have it
    try:
        return open_model(run, stage, best=best, kept=kept)
    finally:
        if before is None:
            del os.environ[FOLDERS]
        else:
            os.environ[FOLDERS] = before


def _submitted(
    model: "FinishedModel", run: Path, work: "Predict | Explain", home: Path, dataset: str | None, kept: Path | None
) -> "LocalJob":
    from fedward_client.agent.policy import read_policy  # most commands need no client
    from fedward_client.jobs.model_copy import ModelSource

    found = ModelSource(folder=run, spec=model.spec, kept=kept)
    policy = read_policy(_home(home).policy)
    return _queue(home).submit_use(found, work, policy, dataset=dataset or model.spec.dataset.name)


@contextmanager
def _telling(job: "LocalJob", folder: Path) -> Iterator[Callable[[], None]]:
    """What tells the news of a job at each call: the events of a training; a use of a model has none."""
    from fedward_cli.display.progress import shown  # slow to import
    from fedward_cli.simulation.event_file import EventFile

    if job.work.kind != "train":
        yield lambda: None
        return
    told = EventFile(folder / "run")
    with shown(errors(), Spec.read(folder / "spec.yaml"), 1) as listen:

        def tell_more() -> None:
            for event in told.more():
                listen(event)

        yield tell_more


def _home(folder: Path) -> "AgentHome":
    from fedward_client.agent.errors import AgentError  # most commands need no client
    from fedward_client.agent.home import AgentHome

    if not folder.is_dir():
        raise AgentError(f"there is no folder '{folder}': --home names the agent's, which `fedward agent enrol` made")
    return AgentHome(folder.absolute())


def _queue(home: Path) -> "JobQueue":
    from fedward_client.jobs.queue import JobQueue  # most commands need no client

    return JobQueue(_home(home).jobs)


def _print(job: "LocalJob", *, machine: bool) -> None:
    if machine:
        typer.echo(job.model_dump_json(indent=2))
        return
    typer.echo(f"{job.id} is {job.state}" + (f": {job.reason}" if job.reason else ""))
