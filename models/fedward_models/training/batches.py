"""What training and evaluation ask of data; whoever gives it, a loader or a test, satisfies these."""

from collections.abc import Iterable, Iterator
from typing import Protocol

from fedward_models.batch import Batch


class Batches(Protocol):
    """Images to train on."""

    @property
    def num_examples(self) -> int:
        """Images of an epoch, those of a dropped last batch included."""

    @property
    def num_steps(self) -> int:
        """Batches of an epoch, at least one."""

    def epoch(self, seed: int) -> Iterator[Batch]:
        """One pass in an order that depends on the seed alone."""


def repeated(batches: Iterable[Batch], times: int) -> Iterator[Batch]:
    """Each batch so many times in a row."""
    return (batch for batch in batches for _ in range(times))


class EvaluationBatches(Protocol):
    """Images to evaluate on."""

    @property
    def patients(self) -> tuple[str, ...]:
        """Whose each image is, in the order of :meth:`in_order`."""

    def in_order(self, batch_size: int) -> Iterator[Batch]:
        """Every image once, as it is, in a fixed order."""
