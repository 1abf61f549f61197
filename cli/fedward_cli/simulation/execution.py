"""Carries one job out in its folder: begins it, takes it up, or reads what it has already reached."""

import json
import shutil
from pathlib import Path

from rich.markup import escape

from fedward_cli.display.consoles import errors, tell
from fedward_cli.display.progress import shown
from fedward_cli.simulation.event_file import read_events
from fedward_cli.simulation.results import METRICS, METRICS_TABLE, Results, read_results, write_metrics
from fedward_cli.simulation.turns import taking_turns
from fedward_core import registry
from fedward_core.cards import CARDS
from fedward_core.claim import at_work
from fedward_core.config import Frozen
from fedward_core.engine import Job
from fedward_core.errors import CheckpointError, SpecError
from fedward_core.events import EventKind
from fedward_core.run_folder import EVENTS, RECORD, SPEC, STAGES
from fedward_core.spec import Spec

CURVES = "curves.png"

# What a run writes, and so what --fresh may remove: never data, nor files of the user's.
_OF_A_RUN = (
    RECORD,
    SPEC,
    CARDS,
    EVENTS,
    STAGES,
    "sites",
    "network",
    "ray",
    METRICS_TABLE,
    METRICS,
    CURVES,
)


class Found(Frozen):
    """The run that a folder holds, as far as it matters here."""

    spec_digest: str
    sites: tuple[str, ...]
    state: str


def job_for(  # noqa: PLR0913 - what a job consists of
    spec: Spec, *, sites: tuple[str, ...], data: Path, out: Path, workers: int = 1, reuse: Path | None = None
) -> Job:
    """The job of a spec: the same spec has the same run id, so that it is resumed.

    Raises:
        SpecError: Fewer sites than the spec asks for.
    """
    if len(sites) < spec.cohort.min_sites:
        raise SpecError(
            f"cohort.min_sites is {spec.cohort.min_sites}, but {len(sites)} sites can take part"
            f" ({', '.join(sites) or 'none'}): add sites, or lower cohort.min_sites"
        )
    run = f"{spec.name}-{spec.digest()[:8]}"
    return Job(spec=spec, run=run, sites=sites, data=data, out=out, workers=workers, reuse=reuse)


def execute(job: Job, *, engine: str, fresh: bool = False, name: str = "") -> Results:
    """Bring a job to its end, and write its figures and curves; a finished job is only read.

    Args:
        job: The job.
        engine: What carries it out.
        fresh: Whether a run that its folder holds is removed.
        name: What each line about it begins with, where others are carried out at the same time.

    Raises:
        FedwardError: The run failed, or the folder holds another run.
    """
    if fresh:
        remove_run(job.out)
    found = _taken_up(job)
    finished = found is not None and found.state == "completed"
    if finished:
        tell(f"'{escape(str(job.out))}' is finished: its results are read. --fresh runs it again.")
    else:
        _announce(job, found, name or job.spec.name)
        with shown(errors(), job.spec, len(job.sites), name=name) as listen, taking_turns(listen) as hear:
            registry.resolve("engines", engine)().run(job, hear)
    results = read_results(job.out)
    if not finished or not (job.out / CURVES).exists():
        write_figures(job, results)
    return results


def find_run(out: Path) -> Found | None:
    """The run that a folder holds, if any.

    Raises:
        CheckpointError: Its record is damaged.
    """
    try:
        values = json.loads((out / RECORD).read_text(encoding="utf-8"))
        return Found.model_validate({key: values[key] for key in Found.model_fields})
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"'{RECORD}' in '{out.name}' is damaged: --fresh removes that run") from error


def remove_run(out: Path) -> None:
    """Remove what a run has written into a folder, and nothing else.

    Raises:
        CheckpointError: A run is at work in it.
    """
    if not out.exists():
        return
    with at_work(out):
        for name in _OF_A_RUN:
            path = out / name
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)


def write_figures(job: Job, results: Results) -> None:
    """Write the figures and the curves of a job that is finished."""
    from fedward_cli.display.curves import draw_curves  # matplotlib is slow to import

    write_metrics(job.out, results)
    draw_curves(results, job.out / CURVES, title=job.spec.name)


def check_same(found: Found, job: Job) -> None:
    """Make sure that a folder holds this job's run.

    Raises:
        CheckpointError: It holds a run of another spec or of other sites.
    """
    if found.spec_digest != job.spec.digest():
        raise CheckpointError(
            f"'{job.out}' holds a run of another spec ({found.spec_digest[:8]}, this one is {job.spec.digest()[:8]}):"
            " choose another --out, or give --fresh to remove that run"
        )
    if found.sites != job.sites:
        raise CheckpointError(
            f"'{job.out}' holds a run of the sites {', '.join(found.sites)}, but now there are {', '.join(job.sites)}:"
            " give the same --data, another --out, or --fresh to remove that run"
        )


def _taken_up(job: Job) -> Found | None:
    """The run that goes on; one that failed before its first stage leaves its place to a spec that is mended."""
    found = find_run(job.out)
    if found is None:
        return None
    if found.state == "failed" and found.spec_digest != job.spec.digest() and not (job.out / STAGES).exists():
        remove_run(job.out)
        return None
    check_same(found, job)
    return found


def _announce(job: Job, found: Found | None, name: str) -> None:
    if found is None:
        where = f"{len(job.sites)} sites: " if len(job.sites) > 1 else ""
        tell(f"[bold]{escape(name)}[/] starts at {where}{escape(', '.join(job.sites))}")
        return
    tell(f"[bold]{escape(name)}[/] goes on in '{escape(str(job.out))}', which {_reached(job.out)}")


def _reached(out: Path) -> str:
    if not (out / EVENTS).exists():
        return "had reached no round"
    finished = [event for event in read_events(out) if event.kind is EventKind.ROUND_FINISHED]
    if not finished:
        return "had reached no round"
    return f"had finished round {(finished[-1].round or 0) + 1} of stage '{finished[-1].stage}'"
