"""Evaluation at one site: every figure with its n and an interval over patients."""

from collections.abc import Callable, Sequence

import numpy as np
import torch

from fedward_core.arrays import Arrays
from fedward_core.cards import Contract
from fedward_core.metric import Metrics
from fedward_models.method import Method
from fedward_models.training.batches import EvaluationBatches
from fedward_models.training.bootstrap import Figure, measure, resample
from fedward_models.training.figures import figures_of, mean_over
from fedward_models.training.rows import rows_of
from fedward_models.training.surroundings import mode

BATCH_SIZE = 128
"""Images that are predicted together; results depend on it in their last bits only."""


def evaluate(  # noqa: PLR0913 - each by name
    method: Method,
    loader: EvaluationBatches,
    contract: Contract,
    *,
    device: torch.device,
    bootstrap: int,
    seed: int,
    keep: Callable[[Arrays], None] | None = None,
) -> Metrics:
    """Evaluate a method on a site's images, without a trace in the method.

        classification   loss, accuracy, balanced_accuracy, auroc, recall/<class>, predicted/<class>,
                         largest_class_share (only as a warning: see ``figures.COLLAPSE_SHARE``)
        multi_label      loss, accuracy, auroc, auroc/<class>
        segmentation     loss, dice (without the first class, the background), dice/<class>
        without labels   loss
        any              what ``Method.measures`` of the method measures

    A figure that a site's images leave undefined, e.g. AUROC where there is one class, has no value but keeps its n.

    Args:
        method: What is evaluated.
        loader: The images, at least one, and whose they are.
        contract: The task and its classes.
        device: Where the method is.
        bootstrap: Resamples for the intervals; 0 for none.
        seed: Seeds the resamples.
        keep: Is given what was noted of every image, as :mod:`fedward_models.training.rows` says, and with it
            ``patients``, (N,), the number of each image's patient at this site.

    Raises:
        DataError: The method predicts classes and the images have no labels.
        UntrainedError: What the method predicts with was never trained.
        DivergedError: A prediction is not finite.
    """
    method.check_trained()
    rows, measures = _rows(method, loader, contract, device)
    if keep:
        keep({**rows, "patients": np.unique(np.asarray(loader.patients), return_inverse=True)[1]})
    weights = resample(loader.patients, resamples=bootstrap, seed=seed)
    figures = figures_of(rows, contract)
    figures |= {name: Figure(statistic=mean_over(values), n=len(values)) for name, values in measures.items()}
    return {name: measure(figure, weights) for name, figure in figures.items()}


@torch.no_grad()
def _rows(method: Method, loader: EvaluationBatches, contract: Contract, device: torch.device) -> tuple[Arrays, Arrays]:
    """What is noted of every image for the task, and what the method itself measures."""
    with mode(method, training=False):
        noted, measured = [], []
        for batch in loader.in_order(BATCH_SIZE):
            moved = batch.to(device)
            noted.append(rows_of(method.predict_batch(moved), moved.labels, contract.task))
            measured.append({name: values.cpu().numpy() for name, values in method.measures(moved).items()})
    return _joined(noted), _joined(measured)


def _joined(batches: Sequence[Arrays]) -> Arrays:
    return {name: np.concatenate([rows[name] for rows in batches]) for name in batches[0]}
