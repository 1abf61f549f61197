"""A federation in memory: sites with toy images, stores that are dictionaries, and a transport that is written down."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor

from fedward_core.arrays import Array, digest
from fedward_core.cards import Contract
from fedward_core.errors import PrivateStateError
from fedward_core.order import Base, Order, Work
from fedward_core.plan import StagePlan
from fedward_core.private_state import PrivateEntry
from fedward_core.seeds import derive_seed
from fedward_core.spec import PersonalisationConfig, Stage
from fedward_core.update import Update, check_update
from fedward_models.backbones.small_cnn.config import SmallCNNConfig
from fedward_models.batch import Batch
from fedward_models.building import manifest_of
from fedward_models.method import Method
from fedward_models.methods.supervised.config import SupervisedConfig
from fedward_models.personalisation.personalisation import Personalisation
from fedward_models.training.batches import Batches
from fedward_models.training.train_round import RoundWork, starting_entry, starting_state, train_round
from fedward_models.weights import arrays_of, load_arrays

BATCH = 4
CONTRACT = Contract(classes=("a", "b", "c"))
NETWORK: dict[str, Any] = {"widths": (4, 6), "hidden": (6,)}
SITES: Mapping[str, int] = {"east": 4, "north": 12, "south": 8}


@dataclass(frozen=True, kw_only=True)
class ToyImages:
    """A site's images in memory."""

    images: Tensor
    labels: Tensor
    batch: int = BATCH

    @classmethod
    def of(cls, site: str, size: int, *, batch: int = BATCH) -> "ToyImages":
        rng = torch.Generator().manual_seed(derive_seed(0, site))
        images = torch.randn(size, 1, 8, 8, generator=rng)
        return cls(images=images, labels=torch.randint(3, (size,), generator=rng), batch=batch)

    @property
    def num_examples(self) -> int:
        return len(self.images)

    @property
    def num_steps(self) -> int:
        return max(len(self.images) // self.batch, 1)

    def epoch(self, seed: int) -> Iterator[Batch]:
        order = torch.randperm(len(self.images), generator=torch.Generator().manual_seed(seed))
        for step in range(self.num_steps):
            chosen = order[self.batch * step : self.batch * (step + 1)]
            yield Batch(images=self.images[chosen], labels=self.labels[chosen], seed=seed + step)


@dataclass
class MemoryStore:
    """Keeps every entry."""

    entries: dict[tuple[int, str], PrivateEntry] = field(default_factory=dict)

    def read(self, round_: int, parent: str) -> PrivateEntry:
        if (round_, parent) not in self.entries:
            raise PrivateStateError("missing")
        return self.entries[round_, parent]

    def write(self, entry: PrivateEntry) -> None:
        copies = {name: array.copy() for name, array in entry.arrays.items()}
        kept = PrivateEntry(round=entry.round, parent=entry.parent, arrays=copies, facts=entry.facts)
        self.entries[entry.round, entry.parent] = kept


@dataclass
class Federation:
    """Runs a stage as the round loop does.

    Attributes:
        stage: The stage.
        sites: The sites with their numbers of images.
        network: The small CNN's settings.
        contract: The classes.
        images: What sites train on; toy images where nothing is given.
        sent: The arrays that went to a site, by round and site.
        received: The update that came back.
    """

    stage: Stage
    sites: Mapping[str, int] = field(default_factory=lambda: dict(SITES))
    network: Mapping[str, Any] = field(default_factory=lambda: dict(NETWORK))
    contract: Contract = CONTRACT
    images: Mapping[str, Batches] = field(default_factory=dict)
    sent: dict[tuple[int, str], dict[str, Array]] = field(default_factory=dict)
    received: dict[tuple[int, str], Update] = field(default_factory=dict)

    def __post_init__(self) -> None:
        config = self.stage.personalise
        self.personalisation: Personalisation = (
            config.build() if config else Personalisation(PersonalisationConfig(name="none"))
        )
        self.method = self.built()
        self.plan = StagePlan(
            manifest=manifest_of(self.method), rules=self.personalisation.rules(self.method), contract=self.contract
        )
        self.weights = {name: array.copy() for name, array in arrays_of(self.method).items()}
        self.bases: dict[str, Base] = {}
        self.stores = {site: MemoryStore() for site in self.sites}
        self.aggregator = self.stage.aggregate.build()
        self.round = 0

    def built(self) -> Method:
        torch.manual_seed(0)
        backbone = SmallCNNConfig.default(**self.network).build(image_px=8, channels=1)
        method: Method = SupervisedConfig().build(backbone=backbone, contract=self.contract)
        torch.nn.init.normal_(method.get_parameter("head.weight"), std=0.1)
        self.personalisation.extend(method)
        return method

    def run(self, rounds: int, *, taking_part: Sequence[str] | None = None) -> "Federation":
        for _ in range(rounds):
            self._round(sorted(taking_part or self.sites))
        return self

    def personal(self, site: str) -> dict[str, Array]:
        """What a site would evaluate: the newest shared part with its own private one."""
        order = self._order(site, Work.EVALUATE)
        partition = self.plan.partition(self.stage.share_at(max(self.round - 1, 0)))
        entry = starting_entry(order, self.stage, partition, self.stores[site])
        return starting_state(order, self.stage, partition, self._errand(order), entry)

    def evaluated(self, site: str) -> Method:
        method = self.built()
        load_arrays(method, self.personal(site))
        base = self.bases.get(site)
        partition = self.plan.partition(self.stage.share_at(base.round if base else 0))
        return self.personalisation.evaluated(method, partition).eval()

    @property
    def digest(self) -> str:
        return digest(self.weights)

    def _round(self, sites: Sequence[str]) -> None:
        partition = self.plan.partition(self.stage.share_at(self.round))
        parent = self.digest
        self.aggregator.begin(partition.shared_manifest)
        for site in sites:
            order = self._order(site, Work.TRAIN)
            self.sent[self.round, site] = {n: a.copy() for n, a in self._errand(order).items()}
            update = self._train(order, site)
            check_update(update, partition.shared_manifest, round_=self.round, parent=parent)
            if update.shared:
                self.aggregator.add(update)
        current, last = partition.split(self.weights)
        averaged = self.aggregator.finish(current) if partition.shared_manifest.entries else current
        self.weights = {n: a.copy() for n, a in partition.merge(averaged, last).items()}
        self.bases |= dict.fromkeys(sites, Base(round=self.round, parent=parent))
        self.round += 1

    def _train(self, order: Order, site: str) -> Update:
        partition = self.plan.partition(self.stage.share_at(order.round))
        local = self.stage.local
        work = RoundWork(
            stage=self.stage,
            order=order,
            site=site,
            seed=derive_seed(0, site, order.round),
            partition=partition,
            phases=self.personalisation.phases(
                self.method,
                partition,
                local=local,
                terms=tuple(config.build() for config in local.terms),
                joining=order.base is None and order.round > 0,
            ),
            device=torch.device("cpu"),
        )
        loader = self.images.get(site) or ToyImages.of(site, self.sites[site])
        update = train_round(self.method, self.sent[order.round, site], self.stores[site], loader, work)
        shared = {name: array.copy() for name, array in update.shared.items()}
        self.received[order.round, site] = update.with_shared({n: a.copy() for n, a in shared.items()})
        return update.with_shared(shared)

    def _order(self, site: str, work: Work) -> Order:
        round_ = self.round if work is Work.TRAIN else self.round - 1
        base = self.bases.get(site)
        return Order(run="toy", work=work, round=max(round_, 0), parent=self.digest, base=base, plan=self.plan)

    def _errand(self, order: Order) -> dict[str, Array]:
        if order.base is None:
            return self.weights
        return self.plan.partition(self.stage.share_at(order.base.round)).split(self.weights)[0]


Federate = Callable[..., Federation]


@pytest.fixture
def federate() -> Federate:
    """A federation over three sites of 4, 12 and 8 images; ``personalise`` and other keys of a stage as in a spec."""

    def make(
        personalise: Any = None,
        *,
        rounds: int = 4,
        sites: Mapping[str, int] = SITES,
        network: Mapping[str, Any] = NETWORK,
        local: Mapping[str, Any] | None = None,
        contract: Contract = CONTRACT,
        images: Mapping[str, Batches] | None = None,
        **stage: Any,
    ) -> Federation:
        values = {
            "name": "toy",
            "method": "supervised",
            "backbone": "small_cnn",
            "rounds": rounds,
            "personalise": personalise,
            "local": {
                "batch_size": BATCH,
                "optimizer": {"name": "sgd", "lr": 0.1, "momentum": 0.5},
                "optimizer_state": "reset",
                **(local or {}),
            },
            **stage,
        }
        return Federation(Stage.model_validate(values), sites, network, contract, images or {})

    return make
