"""A whole run whose sites have consented to a public dataset: what travels, and what the coordinator makes of it."""

import hashlib
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from flwr.app import Context

from fedward_cli.simulation.personal_models import SimulatedRun
from fedward_client.flower import client_app
from fedward_client.flower.messages import write_reply
from fedward_client.flower.simulated_site import SimulatedNetwork
from fedward_client.site_work import SiteSettings
from fedward_core import registry
from fedward_core.arrays import read_arrays
from fedward_core.engine import Job
from fedward_core.errors import FedwardError
from fedward_core.events import Event, EventKind
from fedward_core.order import PUBLIC, Reply, Work
from fedward_core.partition import Partition
from fedward_core.plan import StagePlan
from fedward_core.spec import Spec
from fedward_core.update import SHARED
from fedward_models.data import generate

SITES, ROUNDS = ("north", "river"), 2


@pytest.fixture(scope="module")
def hospitals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sites, and beside them the public dataset, which each of them holds under its own name."""
    folder = tmp_path_factory.mktemp("hospitals")
    generate(folder / "data", sites=2, images_per_site=24, image_px=16, seed=1)
    generate(folder / "other", sites=1, images_per_site=20, image_px=16, seed=2)
    (folder / "open").mkdir()
    for site in SITES:
        shutil.copy(next((folder / "other").glob("*.npz")), folder / "open" / f"{site}.npz")
    return folder


def spec_of(hospitals: Path) -> Spec:
    sha256 = hashlib.sha256((hospitals / "open" / "north.npz").read_bytes()).hexdigest()
    stage = {
        "name": "only",
        "method": "supervised",
        "backbone": {"name": "small_cnn", "widths": [4], "hidden": [6]},
        "rounds": ROUNDS,
        "personalise": {"name": "channel_decoupling", "ramp_rounds": 0},
        "local": {"batch_size": 8, "optimizer": {"name": "sgd", "lr": 0.05}},
    }
    return Spec.parse(
        {
            "name": "together",
            "cohort": {"min_sites": 2},
            "dataset": {"name": "simulated", "image_px": 16},
            "stages": [stage],
            "evaluate": {"bootstrap": 0, "public": {"name": "open", "sha256": sha256}},
        }
    )


def run(hospitals: Path, out: Path) -> list[Event]:
    events: list[Event] = []
    sites = tuple(sorted(path.stem for path in (hospitals / "data").glob("*.npz")))
    job = Job(spec=spec_of(hospitals), run="together", sites=sites, data=hospitals / "data", out=out)
    registry.resolve("engines", "inline")().run(job, events.append)
    return events


@pytest.fixture
def consenting(hospitals: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Simulated sites consent to nothing; these have."""
    locate = SimulatedNetwork.locate

    def consented(self: SimulatedNetwork, context: Context) -> SiteSettings:
        return replace(locate(self, context), public=hospitals / "open")

    monkeypatch.setattr(SimulatedNetwork, "locate", consented)


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Reply, dict[str, dict[str, tuple[int, ...]]]]]:
    """Every reply, with the shapes of its arrays by group."""
    told: list[tuple[Reply, dict[str, dict[str, tuple[int, ...]]]]] = []

    def spy(message: Any, reply: Reply, groups: Mapping[str, Any]) -> Any:
        shapes = {group: {name: np.shape(array) for name, array in arrays.items()} for group, arrays in groups.items()}
        told.append((reply, shapes))
        return write_reply(message, reply, groups)

    monkeypatch.setattr(client_app, "write_reply", spy)
    return told


@pytest.mark.usefixtures("consenting")
def test_sites_send_predictions_and_no_private_weight_and_their_mean_is_that_of_all_models_side_by_side(
    hospitals: Path, tmp_path: Path, sent: list[tuple[Reply, dict[str, dict[str, tuple[int, ...]]]]]
) -> None:
    events = run(hospitals, tmp_path)
    evaluations = [groups for reply, groups in sent if reply.work is Work.EVALUATE]
    assert evaluations == [{PUBLIC: {"probabilities": (20, 3), "labels": (20,)}}] * 2
    plan = StagePlan.model_validate(read_arrays(tmp_path / "stages" / "only" / "final.safetensors")[1]["plan"])
    partition: Partition = plan.partition(spec_of(hospitals).stages[0].share_at(0))
    travels = {entry.name: entry.shape for entry in partition.shared_manifest.entries}
    assert all(groups == {SHARED: travels} for reply, groups in sent if reply.work is Work.TRAIN)

    kept, facts = read_arrays(tmp_path / "stages" / "only" / "public.safetensors")
    with np.load(hospitals / "open" / "north.npz") as file:
        pixels = torch.from_numpy(file["images"])[:, None]
    expected = SimulatedRun(out=tmp_path, data=hospitals / "data").ensemble("only").predict(pixels)
    torch.testing.assert_close(torch.from_numpy(kept["probabilities"]), expected)
    (told,) = [event for event in events if event.kind is EventKind.PUBLIC_EVALUATED]
    right = float((expected.argmax(dim=1).numpy() == kept["labels"]).mean())
    assert told.facts["metrics"]["accuracy"] == {**told.facts["metrics"]["accuracy"], "value": right, "n": 20}
    assert facts["sites"] == told.facts["sites"]


def test_sites_that_have_not_consented_are_never_trained(
    hospitals: Path, tmp_path: Path, sent: list[tuple[Reply, dict[str, dict[str, tuple[int, ...]]]]]
) -> None:
    with pytest.raises(FedwardError):
        run(hospitals, tmp_path)
    assert {reply.work for reply, _ in sent} == {Work.DESCRIBE}
