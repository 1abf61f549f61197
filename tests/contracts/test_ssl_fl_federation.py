"""SSL-FL over several sites: what its two stages send, keep, and take from labels, seeds and the order of sites.

Numbers in brackets are those of the checks in docs/zoo/ssl_fl.md.
"""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedward_core import registry
from fedward_core.arrays import read_arrays
from fedward_core.cards import Split
from fedward_core.engine import Job
from fedward_core.events import Event, EventKind
from fedward_core.spec import Dataset, Spec
from fedward_models.data import generate, open_split
from fedward_models.data.image_set import ImageSet
from fedward_models.programs import torch_program
from fedward_server.rounds.stage_state import read_final

ROUNDS = 3
PRE_TRAINING: dict[str, dict[str, Any]] = {
    "mae": {
        "method": {"name": "mae", "decoder_width": 8, "decoder_depth": 1, "decoder_heads": 1},
        "backbone": {"name": "vit", "width": 12, "depth": 2, "heads": 2, "patch_px": 4},
    },
    "beit": {
        "method": {"name": "beit", "tokenizer": {"name": "patch_codebook", "vocabulary": 8}},
        "backbone": {"name": "beit_vit", "width": 12, "depth": 2, "heads": 2, "patch_px": 4},
    },
}


@dataclass(frozen=True, kw_only=True)
class Done:
    """A finished run: its folder, and what it told."""

    out: Path
    events: list[Event]

    def digests(self, stage: str) -> list[str]:
        """Of the weights after each round."""
        return [e.facts["digest"] for e in self.events if e.kind is EventKind.ROUND_FINISHED and e.stage == stage]

    def of(self, kind: EventKind, stage: str) -> list[Event]:
        return [event for event in self.events if event.kind is kind and event.stage == stage]


@pytest.fixture(scope="module")
def hospitals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hospitals")
    generate(folder, sites=3, images_per_site=24, image_px=16, seed=1)
    return folder


@pytest.fixture(scope="module", params=PRE_TRAINING)
def variant(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def done(variant: str, hospitals: Path, tmp_path_factory: pytest.TempPathFactory) -> Done:
    """The run that the others are compared with."""
    return run(spec_of(variant), tmp_path_factory.mktemp("run"), hospitals)


def spec_of(variant: str, **changes: Any) -> Spec:
    local = {"batch_size": 8, "optimizer": {"name": "adamw", "lr": 0.01}}
    pre_training = {"name": "pretrain", **PRE_TRAINING[variant], "rounds": ROUNDS, "local": local}
    fine_tuning = {"name": "finetune", "method": "supervised", "start_from": "previous", "rounds": 2, "local": local}
    values = {
        "name": "ssl-fl",
        "seed": 5,
        "dataset": {"name": "simulated", "image_px": 16},
        "stages": [pre_training, fine_tuning],
        "evaluate": {"every": 10, "bootstrap": 0},
    }
    return Spec.parse({**values, **changes})


def run(spec: Spec, out: Path, data: Path, *, workers: int = 1, backwards: bool = False) -> Done:
    events: list[Event] = []
    sites = tuple(sorted((path.stem for path in data.glob("*.npz")), reverse=backwards))
    job = Job(spec=spec, run="run", sites=sites, data=data, out=out, workers=workers)
    registry.resolve("engines", "inline")().run(job, events.append)
    return Done(out=out, events=events)


def test_garbage_in_place_of_labels_changes_nothing_in_pre_training(
    variant: str, done: Done, hospitals: Path, tmp_path: Path
) -> None:
    """(14) Bit for bit; in fine-tuning it does."""
    (garbled := tmp_path / "garbled").mkdir()
    for path in hospitals.glob("*.npz"):
        arrays = dict(np.load(path))
        np.savez(garbled / path.name, **{**arrays, "labels": np.roll(arrays["labels"], 7)})
    other = run(spec_of(variant), tmp_path / "run", garbled)
    assert other.digests("pretrain") == done.digests("pretrain")
    assert other.digests("finetune")[-1] != done.digests("finetune")[-1]


def test_the_seed_decides_and_neither_the_number_of_workers_nor_the_order_of_sites(
    variant: str, done: Done, hospitals: Path, tmp_path: Path
) -> None:
    """(17) The same weights after every round."""
    together = run(spec_of(variant), tmp_path, hospitals, workers=2, backwards=True)
    for stage in ("pretrain", "finetune"):
        assert together.digests(stage) == done.digests(stage)


@pytest.mark.slow
def test_the_hash_seed_of_a_process_decides_nothing(variant: str, done: Done, hospitals: Path, tmp_path: Path) -> None:
    """(17) SSL-FL's lists of files went through sets, so that their order was that of the hash seed (Sec. 8, B6)."""
    (tmp_path / "spec.yaml").write_text(spec_of(variant).model_dump_json())
    command = [sys.executable, "-m", "fedward_cli", "simulate", "spec.yaml", "--data", str(hospitals), "--out", "run"]
    subprocess.run(command, cwd=tmp_path, env={**os.environ, "PYTHONHASHSEED": "4242"}, check=True, capture_output=True)
    lines = (tmp_path / "run" / "events.jsonl").read_text().splitlines()
    there = Done(out=tmp_path / "run", events=[Event.model_validate_json(line) for line in lines])
    for stage in ("pretrain", "finetune"):
        assert there.digests(stage) == done.digests(stage)


def test_moments_stay_at_the_site_and_count_its_steps(done: Done) -> None:
    """(12) AdamW has made the steps of all rounds."""
    steps = {event.site: event.facts["num_steps"] for event in done.of(EventKind.SITE_TRAINED, "pretrain")}
    kept = sorted((done.out / "sites").glob(f"*/pretrain/round-{ROUNDS - 1:05d}-*"))
    assert len(kept) == 3
    for path in kept:
        arrays, facts = read_arrays(path)
        assert any(name.startswith("moments/") for name in arrays)
        (phase,) = facts["phases"]
        assert set(phase["steps"].values()) == {ROUNDS * steps[path.parent.parent.name]}


def test_what_travels_is_the_network_and_nothing_else(variant: str, done: Done) -> None:
    """(14) As many bytes as encoder, decoder and head have: no moments, images, masks or tokens."""
    weights = read_final(done.out / "stages" / "pretrain" / "final.safetensors")[1]
    sent = {event.facts["bytes"] for event in done.of(EventKind.SITE_TRAINED, "pretrain")}
    assert sent == {sum(array.nbytes for array in weights.values())}
    assert not [name for name in weights if "tokenizer" in name]
    assert ("decoder.mask_token" if variant == "mae" else "mask_token") in weights


def test_a_site_whose_classifier_was_never_trained_says_so_and_has_no_figures(hospitals: Path, tmp_path: Path) -> None:
    """(19) Under FedPer a site that is left out has the classifier of the first round."""
    network = {"name": "small_cnn", "widths": [2], "hidden": [3]}
    stage = {"name": "only", "method": "supervised", "backbone": network, "rounds": 1, "personalise": "fedper"}
    cohort = {"hold_out": ["hill"], "min_sites": 1}
    done = run(spec_of("mae", stages=[stage], cohort=cohort), tmp_path, hospitals)
    assert {event.site for event in done.of(EventKind.EVALUATED, "only")} == {"north", "river"}
    warnings = [event for event in done.of(EventKind.WARNING, "only") if event.site == "hill"]
    assert [event.facts["reason"] for event in warnings] == ["could not evaluate: untrained"]


def test_the_plan_tells_what_a_stage_took_over_and_which_tokenizer(variant: str, done: Done) -> None:
    (pre_training,), (fine_tuning,) = (done.of(EventKind.STAGE_STARTED, s) for s in ("pretrain", "finetune"))
    assert any("substitute" in note for note in pre_training.facts["notes"]) == (variant == "beit")
    assert ("cloned: 2 entries" in fine_tuning.facts["notes"]) == (variant == "beit")
    assert "new: 4 entries" in fine_tuning.facts["notes"]


def test_nothing_is_selected_and_only_the_split_that_was_asked_for_is_read(
    variant: str, done: Done, hospitals: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """(18) The result is that of the last round, whatever was evaluated and whenever."""
    opened: set[str] = set()

    def watched(data: Path, site: str, dataset: Dataset, split: Split) -> ImageSet:
        opened.add(str(split))
        return open_split(data, site, dataset, split)

    monkeypatch.setattr(torch_program, "open_split", watched)
    evaluate = {"every": 1, "split": "val", "bootstrap": 0}
    validated = run(spec_of(variant, evaluate=evaluate), tmp_path, hospitals)
    assert opened == {"train", "val"}
    assert validated.digests("finetune") == done.digests("finetune")
