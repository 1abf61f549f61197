"""The contract between whatever delivers orders and whatever trains."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from fedward_core.arrays import Array, Arrays
from fedward_core.cards import Contract, DatasetCard
from fedward_core.metric import Metrics
from fedward_core.order import Order
from fedward_core.plan import StagePlan
from fedward_core.private_state import PrivateStore
from fedward_core.registry import load
from fedward_core.spec import Spec
from fedward_core.update import Update

# Beside a site's private state, and like it never sent.
PREDICTIONS = "predictions.safetensors"


@dataclass(frozen=True, kw_only=True)
class Site:
    """Where a program works.

    Attributes:
        name: The site.
        data: The folder with its datasets.
        store: Its private state in this stage of this run.
        predictions: The file for what its newest evaluation predicted, written if the spec asks for it.
        public: The folder with the spec's public dataset, where the site has consented to send predictions on it.
    """

    name: str
    data: Path
    store: PrivateStore
    predictions: Path | None = None
    public: Path | None = None


class Program(Protocol):
    """One stage of one run, for any site."""

    def describe(self, site: Site) -> DatasetCard:
        """The card of the dataset that the spec names.

        Raises:
            DataError: The site lacks it, or it cannot be used.
        """

    def plan(self, contract: Contract, previous: Arrays | None) -> tuple[StagePlan, dict[str, Array]]:
        """Build the stage's model once.

        Args:
            contract: What the sites agree on.
            previous: The whole state at the end of the stage before, where this one starts from it.

        Returns:
            What the model is made of, and the weights of round 0.

        Raises:
            SpecError: The parts of the stage do not fit each other.
            CheckpointError: The previous state is not what this stage can start from.
        """

    def train(self, order: Order, incoming: Arrays, site: Site) -> Update:
        """One round at a site.

        Args:
            order: What is asked; its plan is set.
            incoming: The weights that came with it: what travels at the round of ``order.base``, or all of them.
            site: Where.

        Returns:
            The update. Its arrays may share memory with the model: send or copy them before the next call.

        Raises:
            FedwardError: Data, weights or private state cannot be used, or training diverged.
        """

    def evaluate(self, order: Order, incoming: Arrays, site: Site) -> Metrics:
        """Evaluate at a site; arguments and errors as in :meth:`train`."""

    def predict_public(self, order: Order, incoming: Arrays, site: Site) -> Arrays:
        """What the site's own model predicts for every image of the spec's public dataset, and the labels there.

        Returns:
            ``probabilities``, (N, K), and ``labels``: nothing of the model and nothing of the site's own images.

        Raises:
            DataError: The site lacks that very dataset.
            SpecError: The stage predicts no classes.
        """


def open_program(spec: Spec, stage: int) -> Program:
    """The program that carries a stage out; torch is imported only if the stage's method needs it."""
    runtime = spec.stages[stage].method.runtime
    program: Program = load(f"fedward_models.programs.{runtime}_program:{runtime.capitalize()}Program")(spec, stage)
    return program
