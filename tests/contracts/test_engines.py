"""Every engine carries the same run to the same bits, and nothing private leaves a site on the way."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fedward_core import registry
from fedward_core.arrays import digest, read_arrays
from fedward_core.cards import Split
from fedward_core.engine import Job
from fedward_core.errors import SpecError
from fedward_core.events import Event, EventKind
from fedward_core.seeds import derive_seed
from fedward_core.spec import Spec
from fedward_models.building import build_method
from fedward_models.data import describe, generate, open_split
from fedward_models.data.batches.loader import Loader
from fedward_models.training.fit import fit
from fedward_models.training.phase import Phase
from fedward_models.weights import arrays_of
from fedward_server.engines import inline
from fedward_server.flower.exchange import GridExchange
from fedward_server.flower.inline_grid import InlineGrid
from fedward_server.rounds.site_planning import plan_at_sites
from fedward_server.rounds.stage_state import read_final

VIT = {"name": "vit", "width": 16, "depth": 2, "heads": 2, "patch_px": 8, "drop_path": 0.2}
CNN = {"name": "small_cnn", "widths": [4, 8], "hidden": [16], "norm": "batch"}


@pytest.fixture(scope="module")
def hospitals(tmp_path_factory: pytest.TempPathFactory) -> Path:

    folder = tmp_path_factory.mktemp("hospitals")
    generate(folder, sites=3, images_per_site=40, image_px=16, seed=1)
    return folder


def spec_of(backbone: dict[str, Any], *, rounds: int = 10, **stage: Any) -> Spec:
    local = {"batch_size": 8, "optimizer": {"name": "adamw", "lr": 0.01}, "augment": True}
    return Spec.parse(
        {
            "name": "toy",
            "seed": 7,
            "dataset": {"name": "simulated", "image_px": 16},
            "cohort": {"min_sites": 1},
            "evaluate": {"every": rounds, "bootstrap": 20},
            "stages": [
                {
                    "name": "only",
                    "method": "supervised",
                    "backbone": backbone,
                    "rounds": rounds,
                    **stage,
                    "local": local | stage.get("local", {}),
                }
            ],
        }
    )


RunJob = Callable[..., list[Event]]


@pytest.fixture
def run(hospitals: Path, tmp_path: Path) -> RunJob:
    def run_job(
        spec: Spec, out: str, *, engine: str = "inline", workers: int = 1, sites: tuple[str, ...] | None = None
    ) -> list[Event]:
        events: list[Event] = []
        all_sites = tuple(sorted(path.stem for path in hospitals.glob("*.npz")))
        job = Job(spec=spec, run="run", sites=sites or all_sites, data=hospitals, out=tmp_path / out, workers=workers)
        if engine == "ray":
            return run_apart(job, engine)
        registry.resolve("engines", engine)().run(job, events.append)
        return events

    return run_job


def run_apart(job: Job, engine: str, *, first: str = "pass") -> list[Event]:
    """Run in a process of its own, which does something else first.

    Ray leaves threads and open files behind, which would count as failures in this process.
    """
    code = (
        f"{first};"
        "import sys; from pathlib import Path; from fedward_core import registry; from fedward_core.engine import Job;"
        "from fedward_core.spec import Spec; engine, spec, sites, data, out, workers = sys.argv[1:];"
        "registry.resolve('engines', engine)().run(Job(spec=Spec.model_validate_json(spec), run='run',"
        "sites=tuple(sites.split(',')), data=Path(data), out=Path(out), workers=int(workers)), lambda event: None)"
    )
    arguments = [engine, job.spec.model_dump_json(), ",".join(job.sites), str(job.data), str(job.out), str(job.workers)]
    command, environment = [sys.executable, "-c", code, *arguments], {**os.environ, "OMP_NUM_THREADS": "2"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    lines = (job.out / "events.jsonl").read_text(encoding="utf-8").splitlines()
    return [Event.model_validate_json(line) for line in lines]


def results(events: list[Event]) -> tuple[list[Any], list[Any]]:
    """What a run computed: the weights of every round, and every evaluated figure."""
    digests = [event.facts["digest"] for event in events if event.kind is EventKind.ROUND_FINISHED]
    figures = sorted(
        (str(event.site), json.dumps(event.facts)) for event in events if event.kind is EventKind.EVALUATED
    )
    return digests, figures


@pytest.mark.parametrize("backbone", [VIT, CNN], ids=["vit", "batch-norm cnn"])
def test_one_worker_two_workers_and_ray_give_the_same_bits(backbone: dict[str, Any], run: RunJob) -> None:
    spec = spec_of(backbone)
    alone = results(run(spec, "alone"))
    assert len(set(alone[0])) == 10
    assert results(run(spec, "two", workers=2)) == alone
    assert results(run(spec, "ray", engine="ray", workers=2)) == alone


@pytest.mark.slow
@pytest.mark.parametrize("backbone", [VIT, CNN], ids=["vit", "batch-norm cnn"])
def test_a_deployment_gives_the_bits_of_one_process(backbone: dict[str, Any], run: RunJob) -> None:
    spec = spec_of(backbone)
    alone = results(run(spec, "alone"))
    assert results(run(spec, "deployed", engine="deployment")) == alone
    assert len(set(alone[0])) == 10


def two_stages() -> Spec:
    """Pre-training, and fine-tuning from it, a round of each."""
    first = spec_of(VIT, rounds=1, method={"name": "mae", "decoder_width": 16, "decoder_heads": 2})
    tuned = {"name": "tune", "method": "supervised", "start_from": "previous", "rounds": 1, "local": {"batch_size": 8}}
    values = first.model_dump(mode="json")
    return Spec.parse({**values, "stages": [*values["stages"], tuned]})


def test_sites_plan_stages_to_the_bits_of_the_engine(run: RunJob, monkeypatch: pytest.MonkeyPatch) -> None:
    by_engine = results(run(two_stages(), "engine"))
    monkeypatch.setattr(inline, "plan_here", plan_at_sites)
    by_sites = run(two_stages(), "sites")
    assert results(by_sites) == by_engine
    planned = [event.facts["planned_by"] for event in by_sites if event.kind is EventKind.STAGE_STARTED]
    assert planned == [["hill", "north"]] * 2


@pytest.mark.slow
def test_a_deployment_plans_a_stage_from_the_one_before_to_the_bits_of_one_process(run: RunJob) -> None:
    spec = two_stages()
    alone = results(run(spec, "alone"))
    assert results(run(spec, "deployed", engine="deployment")) == alone
    assert len(set(alone[0])) == 2


@pytest.mark.parametrize("workers", [1, 2])
def test_order_of_arrival_changes_no_digit(workers: int, run: RunJob, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = spec_of(CNN, rounds=3)
    in_order = results(run(spec, "in order"))

    receive = GridExchange.receive

    def shuffled(self: GridExchange, timeout_s: float) -> Iterator[Any]:
        answers = list(receive(self, timeout_s))
        np.random.default_rng(len(answers)).shuffle(answers)
        yield from answers[::-1]

    monkeypatch.setattr(GridExchange, "receive", shuffled)
    assert results(run(spec, "shuffled", workers=workers)) == in_order


def test_workers_do_not_wait_for_the_threads_of_a_process_that_has_used_several(
    hospitals: Path, tmp_path: Path
) -> None:
    job = Job(
        spec=spec_of(VIT, rounds=1),
        run="run",
        sites=("hill", "north", "river"),
        data=hospitals,
        out=tmp_path / "out",
        workers=2,
    )
    used = "import torch; torch.set_num_threads(2); torch.rand(999, 999).sin() @ torch.rand(999, 999)"
    assert run_apart(job, "inline", first=used)[-1].kind is EventKind.RUN_FINISHED


def test_several_threads_in_several_workers_are_refused(run: RunJob) -> None:
    with pytest.raises(SpecError, match=r"set local\.threads to 1"):
        run(spec_of(CNN, local={"threads": 2}), "threads", workers=2)


@pytest.mark.parametrize("backbone", [VIT, CNN], ids=["vit", "batch-norm cnn"])
def test_a_federation_of_one_is_local_training(
    backbone: dict[str, Any], run: RunJob, hospitals: Path, tmp_path: Path
) -> None:

    spec = spec_of(backbone, rounds=4)
    run(spec, "federated", sites=("north",))
    images = open_split(hospitals, "north", spec.dataset, Split.TRAIN)
    method = build_method(spec, 0, describe(hospitals, "north", spec.dataset).contract)
    local, state = spec.stages[0].local, None
    loader = Loader(images, batch_size=local.batch_size, augment=local.augment)
    for round_ in range(4):
        seed = derive_seed(spec.seed, "round", 0, "north", round_)
        report = fit(
            method,
            loader,
            (Phase(local=local),),
            round_=round_,
            rounds=4,
            seed=seed,
            state=state,
            device=torch.device("cpu"),
        )
        state = report.state
    weights = read_final(tmp_path / "federated" / "stages" / "only" / "final.safetensors")[1]
    counters = {name for name, array in weights.items() if array.dtype.kind != "f"}
    ours = {name: array for name, array in arrays_of(method).items() if name not in counters}
    assert digest(ours) == digest({name: array for name, array in weights.items() if name not in counters})


@pytest.mark.parametrize("backbone", [VIT, CNN], ids=["vit", "batch-norm cnn"])
def test_a_private_share_of_0_is_fedavg(backbone: dict[str, Any], run: RunJob) -> None:
    plain = results(run(spec_of(backbone, rounds=3), "fedavg"))
    decoupled = {"name": "channel_decoupling", "private": 0.0, "distillation": 0.5, "temporal_averaging": None}
    assert results(run(spec_of(backbone, rounds=3, personalise=decoupled), "decoupled")) == plain


@pytest.mark.parametrize("backbone", [VIT, CNN], ids=["vit", "batch-norm cnn"])
def test_a_private_share_of_1_is_local_training_without_a_byte_of_weights(
    backbone: dict[str, Any], run: RunJob, tmp_path: Path
) -> None:
    plain = {"distillation": 0.5, "ramp_rounds": 0, "temporal_averaging": None}
    decoupled = {"name": "channel_decoupling", "private": 1.0, **plain}
    events = run(spec_of(backbone, rounds=3, personalise=decoupled), "decoupled")
    assert sum(e.facts["bytes_received"] for e in events if e.kind is EventKind.ROUND_FINISHED) == 0
    run(spec_of(backbone, rounds=3, personalise={"name": "local_only"}), "local", sites=("north",))
    private, alone = (private_weights(tmp_path / out / "sites" / "north", 2) for out in ("decoupled", "local"))
    assert private.keys() == alone.keys()
    assert digest(private) == digest(alone)


def private_weights(site: Path, round_: int) -> dict[str, Any]:
    (path,) = (site / "only").glob(f"round-{round_:05d}-*")
    return {name: array for name, array in read_arrays(path)[0].items() if name.startswith("weights/")}


def test_nothing_private_travels_or_is_written_down(
    run: RunJob, hospitals: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:

    seen: list[bytes] = []
    push, keep = InlineGrid.push_messages, InlineGrid._keep

    def spy(messages: Iterable[Any]) -> list[Any]:
        noted = list(messages)
        for message in noted:
            records = message.content
            seen.extend(str(record["json"]).encode() for record in records.config_records.values())
            seen.extend(array.data for record in records.array_records.values() for array in record.values())
        return noted

    monkeypatch.setattr(InlineGrid, "push_messages", lambda self, messages: push(self, spy(messages)))
    monkeypatch.setattr(InlineGrid, "_keep", lambda self, replies: keep(self, spy(replies)))
    decoupled = {"name": "channel_decoupling", "private": 0.5, "ramp_rounds": 1}
    run(spec_of(CNN, rounds=4, personalise=decoupled), "spied")

    written = [
        path.read_bytes() for path in (tmp_path / "spied").rglob("*") if path.is_file() and "sites" not in path.parts
    ]
    printed = [part.encode() for part in capfd.readouterr()]
    public = b"\0".join([*seen, *written, *printed])
    secrets = list(private_parts(tmp_path / "spied" / "sites")) + list(pixels(hospitals))
    assert len(secrets) > 100
    assert not [name for name, secret in secrets if secret in public]
    for word in (str(hospitals), *patients(hospitals)):
        assert word.encode() not in public, word


def private_parts(sites: Path) -> Iterator[tuple[str, bytes]]:
    """Private weights and moments after the switch."""
    for path in sites.rglob("round-*.safetensors"):
        if "round-00000" in path.name:
            continue  # nothing was private yet
        for name, array in read_arrays(path)[0].items():
            if (piece := telling_piece(array)) is not None:
                yield f"{path.parent.parent.name} {path.name} {name}", piece


def telling_piece(array: Any) -> bytes | None:
    """Four neighbouring values that are not zero, as the bytes that would travel."""
    values = np.ascontiguousarray(array).reshape(-1)
    for start in range(len(values) - 3):
        if values[start : start + 4].all():
            return values[start : start + 4].tobytes()
    return None


def pixels(hospitals: Path) -> Iterator[tuple[str, bytes]]:
    for path in hospitals.glob("*.npz"):
        for index, image in enumerate(np.load(path)["images"]):
            yield f"{path.stem} image {index}", image[image.shape[0] // 2].tobytes()


def patients(hospitals: Path) -> Iterator[str]:
    for path in hospitals.glob("*.npz"):
        yield from (str(patient) for patient in np.unique(np.load(path)["patient"]))
