"""Pre-training in all three modes: a federation of one site trains what the site trains alone, as what is private comes
back each round, and what stays at a site stays there under a personalisation too.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fedward_core.arrays import digest
from fedward_core.cards import Contract
from fedward_core.order import Base, Order, Work
from fedward_core.partition import Partition
from fedward_core.plan import StagePlan
from fedward_core.private_state import PrivateEntry
from fedward_core.spec import Spec
from fedward_models.batch import Batch
from fedward_models.building import build_method, manifest_of
from fedward_models.method import Method
from fedward_models.programs.program import Site
from fedward_models.programs.torch_program import TorchProgram
from fedward_models.training.fit import fit
from fedward_models.training.phase import Phase
from fedward_models.training.train_round import WEIGHTS, RoundWork, train_round
from fedward_models.weights import arrays_of

ROUNDS, CPU, CONTRACT = 3, torch.device("cpu"), Contract(classes=("a", "b"))
VIT = {"name": "vit", "width": 16, "depth": 2, "heads": 2, "patch_px": 4}
MAE = {"name": "mae", "decoder_width": 8, "decoder_depth": 1, "decoder_heads": 1}
BEIT = {"name": "beit", "tokenizer": {"name": "patch_codebook", "vocabulary": 8}}
DMAE = {"name": "dmae", "teacher": {"width": 16, "depth": 2, "heads": 2}, "decoder_width": 8, "decoder_heads": 1}
MOCO = {"name": "sdmp", "base": {"name": "moco", "hidden": 8, "width": 4}}
DINO = {"name": "sdmp", "base": {"name": "dino", "hidden": 8, "bottleneck": 4, "prototypes": 6}}
TEXT = {"width": 8, "depth": 1, "heads": 2, "max_tokens": 8}
MGCA = {"name": "mgca", "text": TEXT, "hidden": 8, "width": 4, "prototypes": 6}
EVP = {"name": "evp", "weights": "as_built"}
PROBE = {"name": "probe", "weights": "as_built"}
FEDBYOL = {"name": "fedbyol", "hidden": 8, "width": 4}
METHODS = pytest.mark.parametrize(
    "settings",
    [MAE, BEIT, DMAE, MOCO, DINO, FEDBYOL, MGCA],
    ids=["mae", "beit", "dmae", "sdmp-moco", "sdmp-dino", "fedbyol", "mgca"],
)
STAYS = (
    "teacher.",
    "momentum.",
    "target.",
    "base.centre",
    "image_head.layers.1.running",
    "word_head.layers.4.running",
)
BESIDE_A_FROZEN_BACKBONE = {"evp": "prompt.", "probe": "head."}
"""Beside one, this is all that travels."""


class Memory:
    """A site's private store, in memory."""

    def __init__(self) -> None:
        self.entries: dict[tuple[int, str], PrivateEntry] = {}

    def read(self, round_: int, parent: str) -> PrivateEntry:
        return self.entries[round_, parent]

    def write(self, entry: PrivateEntry) -> None:
        copies = {name: array.copy() for name, array in entry.arrays.items()}
        kept = PrivateEntry(round=entry.round, parent=entry.parent, arrays=copies, facts=entry.facts)
        self.entries[entry.round, entry.parent] = kept


def spec_of(method: dict[str, Any], **stage: Any) -> Spec:
    first = {"name": "first", "method": "mae", "backbone": VIT, "rounds": 1}
    second = {
        "name": "second",
        "method": method,
        "rounds": ROUNDS,
        "local": {"batch_size": 4, "device": "cpu"},
        **stage,
    }
    network = {**VIT, "name": "beit_vit"} if method["name"] == "beit" else VIT
    started = {"start_from": "previous"} if method["name"] == "dmae" else {"backbone": network}
    return Spec.parse(
        {
            "name": "s",
            "dataset": {"name": "d", "kind": "report", "image_px": 8},
            "stages": [first, {**second, **started}],
        }
    )


class Images:
    """Ten images in memory, in two batches of four."""

    num_examples, num_steps = 10, 2

    def epoch(self, seed: int) -> Iterator[Batch]:
        images = torch.rand(10, 1, 8, 8, generator=torch.Generator().manual_seed(1))
        order = torch.randperm(10, generator=torch.Generator().manual_seed(seed))
        for step in range(self.num_steps):
            chosen = order[4 * step : 4 * step + 4]
            reports = tuple(f"film {number} is clear" for number in chosen.tolist())
            yield Batch(images=images[chosen], labels=chosen % 2, seed=seed + step, reports=reports)


def alone(method: Method, phases: tuple[Phase, ...]) -> dict[str, Any]:
    state = None
    for round_ in range(ROUNDS):
        report = fit(method, Images(), phases, round_=round_, rounds=ROUNDS, seed=round_, device=CPU, state=state)
        state = report.state
    return {name: array.copy() for name, array in arrays_of(method).items()}


def federated(method: Method, spec: Spec, phases: tuple[Phase, ...]) -> dict[str, Any]:
    plan = StagePlan(manifest=manifest_of(method), rules=method.rules(), contract=CONTRACT)
    partition = Partition(plan.manifest, plan.rules)
    incoming = {name: array.copy() for name, array in arrays_of(method).items()}
    store, base = Memory(), None
    for round_ in range(ROUNDS):
        parent = digest(incoming)
        order = Order(run="r", work=Work.TRAIN, stage=1, round=round_, parent=parent, base=base, plan=plan)
        work = RoundWork(
            stage=spec.stages[1], order=order, site="only", seed=round_, partition=partition, phases=phases, device=CPU
        )
        update = train_round(method, incoming, store, Images(), work)
        incoming = {name: np.copy(array) for name, array in update.groups["shared"].items()}
        assert not [name for name in incoming if name.startswith(STAYS)]
        assert all(name.startswith(BESIDE_A_FROZEN_BACKBONE.get(work.stage.method.name, "")) for name in incoming)
        base = Base(round=round_, parent=parent)
    return {name: array.copy() for name, array in arrays_of(method).items()}


@pytest.mark.parametrize("settings", [*METHODS.args[1], EVP, PROBE], ids=[*METHODS.kwargs["ids"], "evp", "probe"])
def test_one_site_federated_equals_the_site_alone(settings: dict[str, Any]) -> None:
    spec = spec_of(settings)
    phases = (Phase(local=spec.stages[1].local),)
    here = alone(build_method(spec, 1, CONTRACT), phases)
    there = federated(build_method(spec, 1, CONTRACT), spec, phases)
    assert here.keys() == there.keys()
    assert all(np.array_equal(array, there[name]) for name, array in here.items())


@pytest.mark.parametrize(
    ("settings", "copy"),
    [(MOCO, "momentum."), (DINO, "momentum."), (FEDBYOL, "target.")],
    ids=["sdmp-moco", "sdmp-dino", "fedbyol"],
)
@pytest.mark.parametrize("round_", [0, 2])
def test_a_slow_copy_begins_with_what_a_site_receives_that_joins_later(
    settings: dict[str, Any], copy: str, round_: int
) -> None:
    """And with what the stage began with at one that is there from the first round."""
    spec = spec_of(settings)
    method, store = build_method(spec, 1, CONTRACT), Memory()
    plan = StagePlan(manifest=manifest_of(method), rules=method.rules(), contract=CONTRACT)
    incoming = {name: array.copy() for name, array in arrays_of(method).items()}
    for name in incoming:
        if name.startswith("backbone."):
            incoming[name] += 1  # others have trained
    order = Order(run="r", work=Work.TRAIN, stage=1, round=round_, parent="p", plan=plan)
    work = RoundWork(
        stage=spec.stages[1],
        order=order,
        site="late",
        seed=1,
        partition=Partition(plan.manifest, plan.rules),
        phases=(),  # nothing is trained here
        device=CPU,
    )
    train_round(method, incoming, store, Images(), work)
    kept = store.read(round_, "p").arrays
    names = [name for name in incoming if f"{WEIGHTS}{copy}{name}" in kept and name.startswith("backbone.")]
    assert names
    for name in names:
        began = incoming[name] if round_ else incoming[copy + name]
        assert np.array_equal(kept[f"{WEIGHTS}{copy}{name}"], began)
        assert np.array_equal(incoming[name], incoming[copy + name] + 1)


@pytest.mark.parametrize(
    ("settings", "copy"),
    [(MOCO, "momentum."), (DINO, "momentum."), (FEDBYOL, "target.")],
    ids=["sdmp-moco", "sdmp-dino", "fedbyol"],
)
def test_a_site_that_never_trains_evaluates_with_a_slow_copy_of_what_it_receives(
    settings: dict[str, Any], copy: str
) -> None:
    spec = spec_of(settings)
    method = build_method(spec, 1, CONTRACT)
    plan = StagePlan(manifest=manifest_of(method), rules=method.rules(), contract=CONTRACT)
    incoming = {name: array + 1 for name, array in arrays_of(method).items() if not name.startswith(copy)}
    untrained = {name: array.copy() for name, array in arrays_of(method).items() if name.startswith(copy)}
    order = Order(run="r", work=Work.EVALUATE, stage=1, round=2, parent="p", plan=plan)
    site = Site(name="guest", data=Path(), store=Memory())
    state = arrays_of(TorchProgram(spec, 1).personal(order, incoming | untrained, site))
    names = [name for name in incoming if f"{copy}{name}" in state and name.startswith("backbone.")]
    assert names
    assert all(np.array_equal(state[copy + name], incoming[name]) for name in names)


@METHODS
@pytest.mark.parametrize(
    "personalise",
    ["fedbn", "local_only", {"name": "channel_decoupling", "distillation": 0}],
    ids=["fedbn", "local_only", "channel_decoupling"],
)
def test_personalised_what_stays_anyway_still_stays(settings: dict[str, Any], personalise: Any) -> None:
    """In every round, and nothing that the personalisation keeps travels either."""
    stage = spec_of(settings, personalise=personalise).stages[1]
    method = build_method(spec_of(settings), 1, CONTRACT)
    assert stage.personalise
    partition = Partition(manifest_of(method), stage.personalise.build().rules(method))
    everything = Partition(manifest_of(method), method.rules())
    for round_ in range(ROUNDS):
        now = partition.at(stage.share_at(round_))
        sent = set(now.shared_manifest.names())
        assert not [name for name in sent if name.startswith(STAYS)]
        assert sent <= set(everything.shared_manifest.names())
    state = arrays_of(method)
    merged = now.merge(*now.split(state))
    assert all(np.array_equal(array, merged[name]) for name, array in state.items())
    assert now.shared_manifest != everything.shared_manifest
