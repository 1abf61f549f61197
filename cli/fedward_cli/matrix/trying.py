"""Tries cells of the matrix: three simulated hospitals train a tiny network for a few rounds."""

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from importlib.resources import files
from pathlib import Path
from statistics import fmean
from typing import Any

import yaml
from rich.progress import track

from fedward_cli.display.consoles import errors
from fedward_cli.matrix.matrix import Cell, Matrix, Mode, Place, keep, on_record, pairs, place_of
from fedward_cli.simulation import hospitals
from fedward_cli.simulation.execution import job_for
from fedward_cli.simulation.results import Results, read_results
from fedward_core import registry
from fedward_core.cards import DataKind, DataNeed
from fedward_core.errors import FedwardError, SpecError
from fedward_core.spec import Spec

SETTINGS = "settings.yaml"
STAGE = "cell"
ROUNDS = 4
# The first that a method and its backbone allow.
PERSONALISATIONS = ("channel_decoupling", "lg_fedavg", "ditto")
_KINDS = {
    DataNeed.IMAGE: DataKind.IMAGE,
    DataNeed.TWO_VIEWS: DataKind.IMAGE,
    DataNeed.IMAGE_REPORT: DataKind.REPORT,
    DataNeed.VOLUME: DataKind.VOLUME,
    DataNeed.CLIP: DataKind.CLIP,
}


def try_all(
    engines: Sequence[str], methods: Sequence[str], *, record: Path | None = None, missing: bool = False
) -> Matrix:
    """Try every pair in every mode on each engine; a refused pair is refused on all, and is tried on the first only.

    Args:
        engines: Names of engines.
        methods: Names of methods.
        record: Where each cell is written as soon as it was tried.
        missing: Whether cells that the record has are left as they are, e.g. after an interruption.

    Raises:
        SpecError: There is no such engine or method, or the record is none.
    """
    for kind, names in (("engines", engines), ("methods", methods)):
        for name in names:
            registry.resolve(kind, name)  # an unknown one would look as if every cell refused it
    known = {place_of(cell): cell for cell in on_record(record)} if record and missing else {}
    tried: list[Cell] = []
    places = tuple(_places(engines, methods))
    with tempfile.TemporaryDirectory() as folder, _standing(engines):
        for place in track(places, description="Trying the zoo", console=errors()):
            if place in known or _is_refused(place, known.values()):
                continue
            known[place] = try_cell(*place, Path(folder))
            tried.append(known[place])
            if record:
                keep(Matrix(cells=tuple(tried)), record)
    return Matrix(cells=tuple(tried))


def try_cell(method: str, backbone: str, mode: Mode, engine: str, folder: Path) -> Cell:
    """Train one method on one backbone.

    Args:
        method: A registered name.
        backbone: A registered name, or nothing.
        mode: How to train it.
        engine: The name of an engine.
        folder: Where simulated hospitals, which are shared by cells, and the run are written.
    """
    cell = Cell(method=method, backbone=backbone, mode=mode, engine=engine, state="failed")
    choices = PERSONALISATIONS if mode is Mode.PERSONALISED else ("",)
    refusals = []
    for choice in choices:
        tried = cell.model_copy(update={"personalisation": choice})
        try:
            return _judged(tried, _run(tried, folder))
        except SpecError as error:
            refusals.append(str(error))
        except FedwardError as error:
            return tried.model_copy(update={"reason": str(error)})
    return cell.model_copy(update={"state": "refused", "reason": refusals[0]})


def _places(engines: Sequence[str], methods: Sequence[str]) -> Iterator[Place]:
    for method, backbone in pairs():
        if method in methods:
            yield from ((method, backbone, mode, engine) for mode in Mode for engine in engines)


def _is_refused(place: Place, cells: Iterable[Cell]) -> bool:
    """Whether another engine has met the refusal already."""
    return any(cell.state == "refused" and place_of(cell)[:3] == place[:3] for cell in cells)


def _standing(engines: Sequence[str]) -> AbstractContextManager[None]:
    """Ray is started once for all cells."""
    if "ray" not in engines:
        return nullcontext()
    from fedward_server.flower.standing_ray import standing_ray  # Ray is an extra, and slow to import

    return standing_ray()


def _run(cell: Cell, folder: Path) -> Results:
    from fedward_server.rounds.stage_state import read_final  # numpy is slow to import

    spec = _spec(cell)
    data = _hospitals(spec, folder)
    sites = hospitals.taking_part(data, spec)[: spec.cohort.min_sites]
    out = folder / "-".join(filter(None, (cell.method, cell.backbone, cell.mode, cell.engine, cell.personalisation)))
    job = job_for(spec, sites=sites, data=data, out=out)
    registry.resolve("engines", cell.engine)().run(job, lambda _: None)
    read_final(out / "stages" / STAGE / "final.safetensors")  # raises where there are no weights, or damaged ones
    return read_results(out)


def _judged(cell: Cell, results: Results) -> Cell:
    """Whether what a run has told is enough."""
    first_loss, last_loss = (_mean_loss(results, round_) for round_ in (0, ROUNDS - 1))
    sent = sum(results.bytes_sent.values())
    seen = {"losses": (first_loss, last_loss), "bytes_sent": sent}
    if cell.method != "rehearsal" and last_loss >= first_loss:
        return cell.model_copy(update={**seen, "reason": f"the loss did not fall in {ROUNDS} rounds"})
    if not sent:
        return cell.model_copy(update={**seen, "reason": "no byte travelled"})
    return cell.model_copy(update={**seen, "state": "trained"})


def _mean_loss(results: Results, round_: int) -> float:
    return fmean(loss for at, loss in results.losses.items() if (at.stage, at.round) == (STAGE, round_))


def _spec(cell: Cell) -> Spec:
    settings: dict[str, dict[str, Any]] = yaml.safe_load(
        files("fedward_cli.matrix").joinpath(SETTINGS).read_text(encoding="utf-8")
    )
    stage: dict[str, Any] = {
        "name": STAGE,
        "method": {"name": cell.method, **settings["methods"].get(cell.method, {})},
        "rounds": ROUNDS,
        "local": settings["local"] | settings["locals"].get(cell.method, {}),
    }
    if cell.backbone:
        stage["backbone"] = {"name": cell.backbone, **settings["backbones"].get(cell.backbone, {})}
    if cell.personalisation:
        stage["personalise"] = {
            "name": cell.personalisation,
            **settings["personalisations"].get(cell.personalisation, {}),
        }
    before = settings["before"].get(cell.method)
    stages = [stage] if before is None else [before, {**stage, "start_from": "previous"}]
    return Spec.parse(
        {
            "name": "matrix",
            "dataset": {"name": "simulated", **settings["datasets"][_kind(cell)]},
            "cohort": {"min_sites": 1 if cell.mode is Mode.LOCAL else 3},
            "stages": stages,
            "evaluate": {"every": ROUNDS, "bootstrap": 0},
        }
    )


def _kind(cell: Cell) -> DataKind:
    """What the method reads, or what its backbone reads where the method takes both."""
    need: DataNeed = registry.resolve("methods", cell.method).need or DataNeed.IMAGE
    if need is DataNeed.IMAGE and cell.backbone:
        need = registry.resolve("backbones", cell.backbone).need
    return _KINDS[need]


def _hospitals(spec: Spec, folder: Path) -> Path:
    from fedward_models.data import generate  # torch is slow to import

    dataset = spec.dataset
    out = folder / f"hospitals-{dataset.kind}"
    if not out.exists():
        depth = dataset.depth or dataset.frames
        generate(out, sites=3, images_per_site=48, image_px=dataset.image_px, seed=1, kind=dataset.kind, depth=depth)
    return out
