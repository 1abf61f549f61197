"""``fedward train`` and ``fedward simulate``: one spec at one site, or over several on this machine."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from fedward_cli.display.consoles import output, tell
from fedward_cli.display.tables import FIGURES_NOTE, PRIOR_NOTE, results_table
from fedward_cli.options import (
    CARRYING_OUT,
    AsJson,
    DataFolderOrNone,
    EngineName,
    Fresh,
    OutFolder,
    RayWorkers,
    SpecFile,
    Workers,
)
from fedward_cli.simulation import hospitals
from fedward_cli.simulation.execution import execute, find_run, job_for
from fedward_cli.simulation.results import Results, as_json
from fedward_cli.simulation.site_prior import site_prior
from fedward_core.cards import Split, Task, read_cards
from fedward_core.engine import Job
from fedward_core.errors import CheckpointError
from fedward_core.metric import Metrics
from fedward_core.spec import Spec

RAY_TRAIN = "ray_train"
Seed = Annotated[int | None, typer.Option("--seed", min=0, help="Takes the place of the spec's seed.")]
Resume = Annotated[
    bool,
    typer.Option(
        "--resume", help="Only go on with a run that is there; never start one.", rich_help_panel=CARRYING_OUT
    ),
]


def simulate(
    spec: SpecFile,
    data: DataFolderOrNone = None,
    out: OutFolder = None,
    engine: EngineName = "inline",
    workers: Workers = 1,
    seed: Seed = None,
    resume: Resume = False,
    fresh: Fresh = False,
    as_json: AsJson = False,
) -> None:
    """Run a spec over several sites on this machine, without a server.

    The folder of the run holds everything: `spec.yaml` with all defaults, `events.jsonl`, checkpoints under `stages/`,
    `metrics.csv`, `metrics.json` and `curves.png`. After an interruption the same command goes on from the last round.

    For example `fedward simulate examples/quickstart.yaml`, or with data of your own and four processes:

    `fedward simulate my-study.yaml --data hospitals/ --out runs/my-study --workers 4`
    """
    chosen = _with_seed(Spec.read(spec), seed)
    out = out or Path("runs") / chosen.name
    _check_choice(out, resume=resume, fresh=fresh)
    data = data or hospitals.simulated(out / "data", chosen)
    sites = hospitals.taking_part(data, chosen)
    job = job_for(chosen, sites=sites, data=data, out=out, workers=workers)
    show_results(execute(job, engine=engine, fresh=fresh), job, machine=as_json)


def train(
    spec: SpecFile,
    site: Annotated[str | None, typer.Option("--site", help="The site whose data is trained on.")] = None,
    data: DataFolderOrNone = None,
    out: OutFolder = None,
    engine: EngineName = "inline",
    ray_workers: RayWorkers = 1,
    seed: Seed = None,
    resume: Resume = False,
    fresh: Fresh = False,
    as_json: AsJson = False,
) -> None:
    """Run a spec at one site: a federation of one, with the same rounds and the same steps.

    Without --data hospitals are simulated. Without --site it is the only one that the data has, or the first simulated
    one.

    For example `fedward train examples/quickstart.yaml --data hospitals/ --site north`
    """
    engine = _engine_for(engine, ray_workers)
    chosen = _with_seed(Spec.read(spec), seed)
    site = site or hospitals.only_site(data)
    chosen = chosen.model_copy(update={"cohort": chosen.cohort.alone(site)})
    out = out or Path("runs") / f"{chosen.name}-{site}"
    _check_choice(out, resume=resume, fresh=fresh)
    data = data or hospitals.simulated(out / "data", chosen)
    sites = hospitals.taking_part(data, chosen)
    job = job_for(chosen, sites=sites, data=data, out=out, workers=ray_workers)
    show_results(execute(job, engine=engine, fresh=fresh), job, machine=as_json)


def show_results(results: Results, job: Job, *, machine: bool) -> None:
    """Print the final figures, as a table or as JSON."""
    if machine:
        typer.echo(json.dumps(as_json(results), indent=2))
        return
    split = job.spec.evaluate.split
    if not results.final:
        tell(f"There are no figures: nothing was evaluated on the {split} split.")
        tell(f"Curves and weights are in '{escape(str(job.out))}'.")
        return
    prior = _prior(job, split)
    title = f"{job.spec.name}: {split} split"
    output().print(results_table(results, title, prior, sent=len(job.sites) > 1))  # a site alone sends nothing
    output().print(f"[dim]{FIGURES_NOTE}{f' {PRIOR_NOTE}' if prior else ''}[/]")
    tell(f"Figures, curves and weights are in '{escape(str(job.out))}'.")


def _prior(job: Job, split: Split) -> dict[str, Metrics]:
    """What guessing would reach, where there are classes to guess."""
    cards = read_cards(job.out)
    guessable = all(card.class_counts and card.contract.task is Task.CLASSIFICATION for card in cards)
    return site_prior(cards, split) if guessable and job.spec.stages[-1].method.needs_labels else {}


def _with_seed(spec: Spec, seed: int | None) -> Spec:
    return spec if seed is None else spec.model_copy(update={"seed": seed})


def _engine_for(engine: str, ray_workers: int) -> str:
    if ray_workers == 1:
        return engine
    if engine not in {"inline", RAY_TRAIN}:
        raise typer.BadParameter(f"--ray-workers is for the engine {RAY_TRAIN}: leave --engine {engine} out")
    return RAY_TRAIN


def _check_choice(out: Path, *, resume: bool, fresh: bool) -> None:
    if resume and fresh:
        raise typer.BadParameter("--resume goes on with a run and --fresh removes it: give one of them")
    if resume and find_run(out) is None:
        raise CheckpointError(f"'{out}' holds no run to go on with: leave --resume out to start one")
