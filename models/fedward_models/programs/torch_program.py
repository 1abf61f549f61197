"""Stages that train a network with torch."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property, partial

import torch

from fedward_core.arrays import Array, Arrays, write_arrays
from fedward_core.cards import Contract, DataNeed, DatasetCard, Split
from fedward_core.errors import SpecError
from fedward_core.metric import Metrics
from fedward_core.order import Order
from fedward_core.partition import Partition
from fedward_core.plan import StagePlan
from fedward_core.seeds import derive_seed
from fedward_core.spec import PersonalisationConfig, Spec, Stage
from fedward_core.update import Update
from fedward_models.building import build_method, manifest_of
from fedward_models.data import describe, label_subset, open_split
from fedward_models.data.batches.loader import Loader
from fedward_models.data.image_set import ImageSet, open_public
from fedward_models.inheritance import Inheritance
from fedward_models.method import Method
from fedward_models.personalisation.personalisation import Personalisation
from fedward_models.programs.later_stages import check_later_stages
from fedward_models.programs.memory import lack_of_memory_told
from fedward_models.programs.program import Site
from fedward_models.training.evaluation import BATCH_SIZE, evaluate
from fedward_models.training.phase import Phase
from fedward_models.training.surroundings import threads
from fedward_models.training.train_round import RoundWork, starting_entry, starting_state, train_round
from fedward_models.training.workers import joined_share
from fedward_models.weights import arrays_of, load_arrays

PUBLIC_ROWS = ("probabilities", "labels")  # all that is told of a public image


class TorchProgram:
    """Carries out a stage whose method is a torch module.

    One method serves every site in turn: each round overwrites its whole state, so nothing of a site is left in it.

    Everything that computes does so with the spec's number of threads: a forked worker that used more would wait for
    ever for the thread pool of the process that it was forked from.

    Args:
        spec: The run.
        stage: The index of the stage.
    """

    def __init__(self, spec: Spec, stage: int) -> None:
        self._spec = spec
        self._index = stage
        self._stage = spec.stages[stage]
        self._method: Method | None = None
        self._checked: StagePlan | None = None

    def describe(self, site: Site) -> DatasetCard:
        """The card of the spec's dataset."""
        return describe(site.data, site.name, self._spec.dataset)

    def plan(self, contract: Contract, previous: Arrays | None) -> tuple[StagePlan, dict[str, Array]]:
        """Build the method from its seed, and let it inherit; with the first stage all later ones are tried."""
        with self._computing():
            method = build_method(self._spec, self._index, contract)
            inherited = self._inherit(method, contract, previous) if previous is not None else ()
            notes = (*method.notes, *inherited)
            self._personalisation.extend(method)
        rules = self._personalisation.rules(method)
        plan = StagePlan(manifest=manifest_of(method), rules=rules, contract=contract, notes=notes)
        plan.partition(self._stage.share_at(0))  # an entry without a rule, or a cut that does not fit, fails here
        weights = {name: array.copy() for name, array in arrays_of(method).items()}
        if self._index == 0:
            check_later_stages(self._spec, contract, weights)
        return plan, weights

    def train(self, order: Order, incoming: Arrays, site: Site) -> Update:
        """One round: see :func:`train_round`."""
        with self._computing():
            return self._train(order, incoming, site)

    def evaluate(self, order: Order, incoming: Arrays, site: Site) -> Metrics:
        """The site's own model, shared and private parts together, on its own images."""
        with self._computing():
            return self._evaluate(order, incoming, site)

    def predict_public(self, order: Order, incoming: Arrays, site: Site) -> Arrays:
        """The site's own model, on a public dataset; it sees the images as it sees its own."""
        with self._computing():
            return self._predict_public(order, incoming, site)

    def personal(self, order: Order, incoming: Arrays, site: Site) -> Method:
        """The site's own model, shared and private parts together; the next call overwrites it.

        It never leaves the site. Only a simulation, which is every site, may put several side by side.
        """
        method, partition = self._ready(order)
        entry = starting_entry(order, self._stage, partition, site.store)
        load_arrays(method, starting_state(order, self._stage, partition, incoming, entry))
        if order.base is None:
            method.join()
        return self._evaluated(method, order, partition)

    @contextmanager
    def _computing(self) -> Iterator[None]:
        with threads(self._stage.local.threads), lack_of_memory_told():
            yield

    def _train(self, order: Order, incoming: Arrays, site: Site) -> Update:
        method, partition = self._ready(order)
        work = RoundWork(
            stage=self._stage,
            order=order,
            site=site.name,
            seed=derive_seed(self._spec.seed, "round", self._index, site.name, order.round),
            partition=partition,
            phases=self._phases(method, order, partition),
            device=self._device,
        )
        loader = Loader(
            self._training_images(site),
            batch_size=self._stage.local.batch_size,
            augment=self._stage.local.augment,
            balanced=self._stage.local.balanced,
            prepare_ahead=self._device.type == "cuda",
            share=joined_share(),
        )
        return train_round(method, incoming, site.store, loader, work)

    def _evaluate(self, order: Order, incoming: Arrays, site: Site) -> Metrics:
        settings = self._spec.evaluate
        return self._evaluation(self._open(site, settings.split), order, incoming, site)(
            bootstrap=settings.bootstrap,
            seed=derive_seed(self._spec.seed, "evaluation", site.name),
            keep=self._keeper(site, order),
        )

    def _predict_public(self, order: Order, incoming: Arrays, site: Site) -> Arrays:
        public, noted = self._spec.evaluate.public, dict[str, Array]()
        assert public is not None
        assert site.public is not None
        images = open_public(site.public, site.name, self._spec.dataset, public, self._open(site, Split.TRAIN))
        self._evaluation(images, order, incoming, site)(bootstrap=0, seed=0, keep=noted.update)
        return {name: noted[name] for name in PUBLIC_ROWS}

    def _evaluation(self, images: ImageSet, order: Order, incoming: Arrays, site: Site) -> Callable[..., Metrics]:
        """Evaluates the site's own model on images; what is left open is how."""
        return partial(
            evaluate,
            self.personal(order, incoming, site).to(self._device),
            Loader(images, batch_size=BATCH_SIZE, augment=False, prepare_ahead=self._device.type == "cuda"),
            _contract(order),
            device=self._device,
        )

    def _keeper(self, site: Site, order: Order) -> Callable[[Arrays], None] | None:
        if not self._spec.evaluate.keep_predictions or site.predictions is None:
            return None
        facts = {"round": order.round, "split": self._spec.evaluate.split}
        return partial(write_arrays, site.predictions, facts=facts, durable=False)

    @cached_property
    def _device(self) -> torch.device:
        wanted = self._stage.local.device
        if wanted == "auto":
            return torch.device("cuda" if torch.cuda.is_available() else "cpu")
        device = torch.device(wanted)
        if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
            raise SpecError(
                f"local.device is '{wanted}', but this machine has {torch.cuda.device_count()} usable GPUs: set it to "
                "auto, cpu or cuda"
            )
        return device

    @cached_property
    def _personalisation(self) -> Personalisation:
        return _personalisation_of(self._stage)

    def _ready(self, order: Order) -> tuple[Method, Partition]:
        assert order.plan is not None
        if self._method is None:
            self._method = build_method(self._spec, self._index, order.plan.contract)
            self._personalisation.extend(self._method)
        self._check_plan(order.plan, self._method)
        return self._method, order.plan.partition(self._stage.share_at(order.round))

    def _check_plan(self, plan: StagePlan, method: Method) -> None:
        """What may travel follows from the spec that the site agreed to, whatever rules arrive with an order."""
        if plan == self._checked:
            return
        if plan.rules != self._personalisation.rules(method) or plan.manifest != manifest_of(method):
            raise SpecError(
                f"the plan of stage '{self._stage.name}' shares other parts of the model than its spec does, or is of "
                "another model: another release of Fedward made it, or it was changed on its way. Nothing is sent: use "
                "one release everywhere"
            )
        if other := set(method.origins) - set(plan.notes):
            raise SpecError(
                f"the plan of stage '{self._stage.name}' was made with something else than '{min(other)}', which this "
                "site has: the sites would not train one model. Use one release of Fedward and of numpy everywhere"
            )
        self._checked = plan

    def _phases(self, method: Method, order: Order, partition: Partition) -> tuple[Phase, ...]:
        return self._personalisation.phases(
            method,
            partition,
            local=self._stage.local,
            terms=tuple(config.build() for config in self._stage.local.terms),
            joining=order.joins_late,
        )

    def _evaluated(self, method: Method, order: Order, partition: Partition) -> Method:
        """What the site's last round makes of the method; the order's round, where the site took part in none."""
        share = self._stage.share_at(order.base.round if order.base else order.round)
        return self._personalisation.evaluated(method, partition.at(share))

    def _inherit(self, method: Method, contract: Contract, previous: Arrays) -> tuple[str, ...]:
        source = build_method(self._spec, self._index - 1, contract)
        _personalisation_of(self._spec.stages[self._index - 1]).extend(source)
        load_arrays(source, previous)
        return _sentences(method.inherit(source.state_dict(), source))

    def _open(self, site: Site, split: Split) -> ImageSet:
        """What the stage reads; reports reach no method that does not need them."""
        images = open_split(site.data, site.name, self._spec.dataset, split)
        return images if self._spec.need_of(self._index) is DataNeed.IMAGE_REPORT else replace(images, reports=None)

    def _training_images(self, site: Site) -> ImageSet:
        images = self._open(site, Split.TRAIN)
        if not self._stage.method.needs_labels:
            return replace(images, labels=None)
        fraction = self._stage.label_fraction or self._spec.dataset.label_fraction
        if fraction < 1:
            return label_subset(images, fraction, derive_seed(self._spec.seed, "labels", site.name))
        return images


def _personalisation_of(stage: Stage) -> Personalisation:
    """A stage's personalisation; one that keeps to what the method says where the stage names none."""
    personalisation: Personalisation = (
        stage.personalise.build() if stage.personalise else Personalisation(PersonalisationConfig(name="none"))
    )
    return personalisation


def _contract(order: Order) -> Contract:
    assert order.plan is not None
    return order.plan.contract


def _sentences(inheritance: Inheritance) -> tuple[str, ...]:
    parts = {
        "taken over": inheritance.taken,
        "cloned": inheritance.cloned,
        "new": inheritance.new,
        "dropped": inheritance.dropped,
    }
    return tuple(f"{what}: {len(names)} entries" for what, names in parts.items() if names)
