"""Stages that need no torch: the rehearsal."""

from fedward_core.arrays import Array, Arrays
from fedward_core.cards import Contract, DatasetCard
from fedward_core.errors import SpecError
from fedward_core.manifest import Manifest
from fedward_core.metric import Metric, Metrics
from fedward_core.order import Order
from fedward_core.partition import Role, Rule
from fedward_core.plan import StagePlan
from fedward_core.seeds import derive_seed
from fedward_core.spec import Spec
from fedward_core.update import SHARED, Update
from fedward_models.methods.rehearsal.rehearsal import Rehearsal
from fedward_models.programs.program import Site

EVERYTHING = (Rule(pattern=r".*", role=Role.SHARED),)


class NumpyProgram:
    """Carries out a stage whose method moves arrays without a network or images.

    Args:
        spec: The run.
        stage: The index of the stage.
    """

    def __init__(self, spec: Spec, stage: int) -> None:
        self._stage = spec.stages[stage]
        self._seed = derive_seed(spec.seed, "stage", stage)
        self._dataset = spec.dataset.name
        self._method: Rehearsal = self._stage.method.build()

    def describe(self, site: Site) -> DatasetCard:
        """An empty card: nothing is read."""
        return DatasetCard(
            site=site.name,
            dataset=self._dataset,
            contract=Contract(classes=()),
            num_images={},
            num_patients={},
            digest="",
        )

    def plan(self, contract: Contract, previous: Arrays | None) -> tuple[StagePlan, dict[str, Array]]:
        """Everything is shared; a stage after another goes on from its weights."""
        weights = self._method.initial() if previous is None else dict(previous)
        return StagePlan(manifest=Manifest.of(weights), rules=EVERYTHING, contract=contract), weights

    def train(self, order: Order, incoming: Arrays, site: Site) -> Update:
        """Move the weights as the method says, and encode them as the spec's filters say."""
        weights, num_examples = self._method.train(incoming, seed=self._seed, site=site.name, round_=order.round)
        update = Update(
            site=site.name,
            round=order.round,
            parent=order.parent,
            num_examples=num_examples,
            num_steps=1,
            groups={SHARED: weights},
            metrics={"loss": 0.0},
        )
        for config in self._stage.filters:
            update = config.build().encode(update, incoming, seed=derive_seed(self._seed, site.name, order.round))
        return update

    def evaluate(self, order: Order, incoming: Arrays, site: Site) -> Metrics:  # noqa: ARG002 - the contract
        """The mean weight; there is nothing else to measure."""
        means = [float(array.mean()) for array in incoming.values()]
        return {"mean_weight": Metric(value=sum(means) / len(means), n=len(means))}

    def predict_public(self, order: Order, incoming: Arrays, site: Site) -> Arrays:  # noqa: ARG002 - the contract's
        """There is nothing that could predict.

        Raises:
            SpecError: Always.
        """
        raise SpecError("this stage moves weights and predicts nothing: leave evaluate.public out")
