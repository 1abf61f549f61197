"""What a program hands to training and evaluation: the split, and seeds that belong to one site and round alone."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from fedward_core.arrays import Arrays
from fedward_core.cards import DatasetCard, Split
from fedward_core.order import Order, Work
from fedward_core.private_state import PrivateEntry
from fedward_core.spec import Spec
from fedward_models.data import generate, sites_in
from fedward_models.programs import torch_program
from fedward_models.programs.program import Site
from fedward_models.programs.torch_program import TorchProgram

ROUNDS = 3


class Nothing:
    """A private store that is not asked."""

    def read(self, round_: int, parent: str) -> PrivateEntry:
        raise NotImplementedError

    def write(self, entry: PrivateEntry) -> None:
        raise NotImplementedError


@dataclass
class Given:
    """What was handed over, call by call."""

    loaders: list[Any] = field(default_factory=list)
    seeds: list[int] = field(default_factory=list)

    def train(self, method: Any, incoming: Arrays, store: Any, loader: Any, work: Any) -> None:
        self.loaders.append(loader)
        self.seeds.append(work.seed)

    def evaluate(self, method: Any, loader: Any, contract: Any, *, seed: int, **_: Any) -> None:
        self.loaders.append(loader)
        self.seeds.append(seed)


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> Given:
    found = Given()
    monkeypatch.setattr(torch_program, "train_round", found.train)
    monkeypatch.setattr(torch_program, "evaluate", found.evaluate)
    return found


@pytest.fixture
def hospitals(tmp_path: Path) -> list[Site]:
    generate(tmp_path, sites=2, images_per_site=40, image_px=16, seed=1)
    return [Site(name=name, data=tmp_path, store=Nothing()) for name in sites_in(tmp_path)]


def ask(site: Site, work: Work, *rounds: int, stage: int = 0, **changes: Any) -> DatasetCard:
    """Ask a program of its own for a few rounds at a site, and give the site's card."""
    of_stage = {"method": "supervised", "backbone": {"name": "small_cnn", "widths": [2], "hidden": []}}
    stages = [{"name": name, "rounds": ROUNDS, **of_stage} for name in ("one", "two")]
    values = {"name": "toy", "dataset": {"name": "films", "image_px": 16}, "stages": stages}
    program = TorchProgram(Spec.parse({**values, "evaluate": {"split": "val"}, **changes}), stage)
    card = program.describe(site)
    plan, weights = program.plan(card.contract, None)
    for round_ in rounds:
        order = Order(run="r", work=work, stage=stage, round=round_, parent="p", plan=plan)
        {Work.TRAIN: program.train, Work.EVALUATE: program.evaluate}[work](order, weights, site)
    return card


def test_a_round_trains_on_the_training_images_alone_and_an_evaluation_reads_its_split(
    given: Given, hospitals: list[Site]
) -> None:
    card = ask(hospitals[0], Work.TRAIN, 0)
    ask(hospitals[0], Work.EVALUATE, 0)
    ask(hospitals[0], Work.EVALUATE, 0, evaluate={"split": "test"})
    counts = [card.num_images[split] for split in (Split.TRAIN, Split.VALIDATION, Split.TEST)]
    assert [loader.num_examples for loader in given.loaders] == counts
    assert len({frozenset(loader.patients) for loader in given.loaders}) == 3


def test_every_round_of_every_site_and_stage_has_a_seed_of_its_own(given: Given, hospitals: list[Site]) -> None:
    for site in hospitals:
        ask(site, Work.TRAIN, *range(ROUNDS))
        ask(site, Work.TRAIN, 0, stage=1)
        ask(site, Work.TRAIN, 0, seed=1)
    assert len(given.seeds) == len(set(given.seeds)) == 2 * (ROUNDS + 2)


def test_a_round_that_is_trained_again_has_the_seed_that_it_had(given: Given, hospitals: list[Site]) -> None:
    for _ in range(2):
        ask(hospitals[1], Work.TRAIN, 2, 1)
    assert given.seeds[:2] == given.seeds[2:]


def test_a_site_draws_the_same_patients_at_every_evaluation_and_another_site_others(
    given: Given, hospitals: list[Site]
) -> None:
    """So that the figures of two rounds differ by the model alone."""
    for site in hospitals:
        ask(site, Work.EVALUATE, 0, 1)
    one, again, other, _ = given.seeds
    assert one == again != other


def test_the_patients_whose_labels_are_used_are_those_of_the_runs_seed_in_every_round_and_stage(
    given: Given, hospitals: list[Site]
) -> None:
    few = {"name": "films", "image_px": 16, "label_fraction": 0.5}
    ask(hospitals[0], Work.TRAIN, 0, 1, dataset=few)
    ask(hospitals[0], Work.TRAIN, 0, stage=1, dataset=few)
    for seed in (1, 2):
        ask(hospitals[0], Work.TRAIN, 0, seed=seed, dataset=few)
    used = [frozenset(loader.patients) for loader in given.loaders]
    assert len(set(used[:3])) == 1
    assert len(set(used)) > 1
