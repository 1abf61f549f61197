"""A bench for the command line: tiny simulated hospitals, specs, and an engine that only tells of training."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
import yaml
from typer.testing import CliRunner

from fedward_cli.display import curves
from fedward_cli.main import app
from fedward_core import registry
from fedward_core.engine import Job
from fedward_core.events import Event, EventKind, Listener
from fedward_core.seeds import generator
from fedward_core.spec import Spec, Stage
from fedward_models.data import describe, generate
from fedward_server.engines.inline import InlineEngine

NUM_TEST = {"hill": 6, "north": 4, "river": 5}
SPEC = """
name: {name}
dataset: {{name: simulated, image_px: 16}}
evaluate: {{every: 2}}
stages:
  - name: pretrain
    method: mae
    backbone: {{name: vit, width: 16, depth: 1, heads: 2, patch_px: 8}}
    rounds: {rounds}
  - name: finetune
    method: supervised
    start_from: previous
    rounds: {rounds}
"""


class FakeEngine:
    """Tells of rounds in which the loss falls; writes what a real engine writes, without training anything.

    Attributes:
        jobs: Every job that was run.
        stop_after: Be interrupted after so many rounds of the first stage.
        one_class: A site at which balanced accuracy and AUROC are not defined.
        dropped: A site that never answers.
    """

    jobs: ClassVar[list[Job]]
    stop_after: int | None = None
    one_class: str | None = None
    dropped: str | None = None

    def run(self, job: Job, listen: Listener) -> None:
        self.jobs.append(job)
        kind = EventKind.RUN_RESUMED if (job.out / "run.json").exists() else EventKind.RUN_STARTED
        job.out.mkdir(parents=True, exist_ok=True)
        (job.out / "spec.yaml").write_text(yaml.safe_dump(job.spec.model_dump(mode="json")))
        _write_state(job, "running")
        cards = [describe(job.data, site, job.spec.dataset).model_dump(mode="json") for site in job.sites]
        (job.out / "cards.json").write_text(json.dumps(cards))
        self._tell = _teller(job, listen)
        self._tell(kind)
        for index, stage in enumerate(job.spec.stages):
            self._stage(job, index, stage)
        self._tell(EventKind.RUN_FINISHED, seconds=1.0)
        _write_state(job, "completed")

    def _stage(self, job: Job, index: int, stage: Stage) -> None:
        shelved = _shelved(job, index)
        if shelved is not None and shelved.exists() and stage != job.spec.stages[-1]:
            self._tell(EventKind.STAGE_REUSED, stage=stage.name)
            return
        self._tell(EventKind.STAGE_STARTED, stage=stage.name, rounds=stage.rounds, notes=[], parameters=10)
        for round_ in range(stage.rounds):
            self._round(job, stage, round_)
            if self.stop_after == round_ + 1:
                _write_state(job, "interrupted")
                raise KeyboardInterrupt
        if shelved is not None:
            shelved.parent.mkdir(parents=True, exist_ok=True)
            shelved.touch()

    def _round(self, job: Job, stage: Stage, round_: int) -> None:
        sites = [site for site in job.sites if site != self.dropped]
        if self.dropped:
            self._tell(EventKind.SITE_DROPPED, stage=stage.name, round_=round_, site=self.dropped, reason="[silent]")
        loss = 1 / (round_ + 1)
        for site in sites:
            counts = {"num_examples": 20, "num_steps": 2, "bytes": 1000}
            self._tell(EventKind.SITE_TRAINED, stage=stage.name, round_=round_, site=site, loss=loss, **counts)
        facts: dict[str, Any] = {
            "loss": loss,
            "sites": sites,
            "bytes_sent": 3000,
            "bytes_received": 3000,
            "seconds": 0.5,
        }
        self._tell(EventKind.ROUND_FINISHED, stage=stage.name, round_=round_, **facts)
        due = (round_ + 1) % job.spec.evaluate.every == 0 or round_ + 1 == stage.rounds
        for site in sites if due and stage.method.needs_labels else ():
            metrics = self._metrics(job.spec, site)
            self._tell(EventKind.EVALUATED, stage=stage.name, round_=round_, site=site, metrics=metrics)

    def _metrics(self, spec: Spec, site: str) -> dict[str, Any]:
        value = round(0.5 + 0.4 * float(generator(spec.seed, spec.name, site).random()), 3)
        n = NUM_TEST.get(site, 3)
        whole = {"value": None if site == self.one_class else value, "n": n, "low": None, "high": None}
        accuracy = {"value": value, "n": n, "low": value - 0.1, "high": value + 0.1}
        return {"accuracy": accuracy, "balanced_accuracy": whole, "auroc": whole}


@dataclass
class Bench:
    """The command line with all that it needs.

    Attributes:
        folder: An empty folder.
        data: A folder with the sites hill, north and river.
        engine: What stands in for every engine.
    """

    folder: Path
    data: Path
    engine: type[FakeEngine]

    @property
    def out(self) -> Path:
        return self.folder / "run"

    def spec(self, name: str = "study", *, rounds: int = 3) -> Path:
        """A spec with a stage that reads no labels and one that does."""
        path = self.folder / f"{name}.yaml"
        path.write_text(SPEC.format(name=name, rounds=rounds))
        return path

    def call(self, *arguments: object) -> Any:
        """Call the command line."""
        return CliRunner().invoke(app, [str(argument) for argument in arguments])

    def simulate(self, *arguments: object, spec: Path | None = None) -> Any:
        """Simulate the spec over the hospitals."""
        return self.call("simulate", spec or self.spec(), "--data", self.data, "--out", self.out, *arguments)


@pytest.fixture
def without_curves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Curves are slow to draw, and tried with ``simulate``."""
    monkeypatch.setattr(curves, "draw_curves", lambda results, path, title: path.touch())


@pytest.fixture(scope="session")
def hospitals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three simulated hospitals with few and small images."""
    folder = tmp_path_factory.mktemp("hospitals")
    generate(folder, sites=3, images_per_site=30, image_px=16)
    return folder


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, hospitals: Path) -> Callable[..., Path]:
    """Trains one round at the hospitals for real, once for each way to ask for it, and gives the folder of the run."""
    runs: dict[str, Path] = {}

    def train(*, method: str = "supervised", personalise: str | dict[str, Any] | None = None, **backbone: Any) -> Path:
        backbone = backbone or {"name": "small_cnn", "widths": [8], "hidden": []}
        local = {"optimizer": {"name": "sgd", "lr": 0.05}, "batch_size": 8}
        stage = {"name": "train", "method": method, "backbone": backbone, "rounds": 1, "local": local}
        if personalise:
            stage["personalise"] = personalise
        dataset = {"name": "simulated", "image_px": 16}
        spec = Spec.parse({"name": "study", "dataset": dataset, "evaluate": {"bootstrap": 20}, "stages": [stage]})
        if (digest := spec.digest()) not in runs:
            runs[digest] = tmp_path_factory.mktemp("trained")
            sites = ("hill", "north", "river")
            job = Job(spec=spec, run="study", sites=sites, data=hospitals, out=runs[digest])
            InlineEngine().run(job, lambda event: None)
        return runs[digest]

    return train


@pytest.fixture
def bench(tmp_path: Path, hospitals: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """The command line over the fake engine."""

    class Engine(FakeEngine):
        jobs: ClassVar[list[Job]] = []

    resolve = registry.resolve

    def resolve_fake(kind: str, name: str) -> Any:
        found = resolve(kind, name)
        return Engine if kind == "engines" else found

    monkeypatch.setattr(registry, "resolve", resolve_fake)
    return Bench(tmp_path, hospitals, Engine)


def _teller(job: Job, listen: Listener) -> Callable[..., None]:
    def tell(
        kind: EventKind, *, stage: str | None = None, round_: int | None = None, site: str | None = None, **facts: Any
    ) -> None:
        event = Event(kind=kind, time_s=0.0, stage=stage, round=round_, site=site, facts=facts)
        with (job.out / "events.jsonl").open("a") as file:
            file.write(event.model_dump_json() + "\n")
        listen(event)

    return tell


def _shelved(job: Job, index: int) -> Path | None:
    """The file of a stage on the job's shelf, named by seed and stages up to it."""
    if job.reuse is None:
        return None
    key = f"{job.spec.seed} {job.spec.stages[: index + 1]}"
    return job.reuse / f"{hashlib.sha256(key.encode()).hexdigest()}.safetensors"


def _write_state(job: Job, state: str) -> None:
    facts = {"run": job.run, "spec_digest": job.spec.digest(), "sites": job.sites, "state": state}
    (job.out / "run.json").write_text(json.dumps({**facts, "reason": "", "attempt": 1}))
