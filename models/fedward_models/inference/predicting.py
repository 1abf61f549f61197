"""A finished model over the images of one site, which stay there.

Letters: N images, K classes.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fedward_core.arrays import Array
from fedward_core.cards import Contract, Split, Task
from fedward_core.errors import DivergedError
from fedward_core.metric import Metrics
from fedward_models.batch import Batch
from fedward_models.data import Loader
from fedward_models.data.image_set import ImageSet
from fedward_models.data.site_data import read_site
from fedward_models.inference.calibration import Reliability, reliability
from fedward_models.inference.finished_model import FinishedModel
from fedward_models.inference.fitting import check_names_images, open_fitting
from fedward_models.training.bootstrap import measure, resample
from fedward_models.training.evaluation import BATCH_SIZE
from fedward_models.training.figures import figures_of
from fedward_models.training.rows import rows_of

ERROR = "calibration_error"


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """What a model says of the images of one split at one site.

    Attributes:
        site: The site.
        contract: The task and its classes.
        images: (N,), the place of each image among the site's usable ones, counted from 0.
        names: (N,), its file or id as the site has it, or nothing.
        patients: (N,), whose each image is.
        probabilities: (N, K).
        labels: (N,) class numbers or (N, K) zeros and ones; None where there are none.
    """

    site: str
    contract: Contract
    images: Array
    names: tuple[str, ...]
    patients: tuple[str, ...]
    probabilities: Array
    labels: Array | None

    @property
    def named(self) -> Array:
        """(N, K) booleans, the classes that the model names: the most probable one, or all above one half."""
        if self.contract.task is Task.MULTI_LABEL:
            return np.asarray(self.probabilities > 0.5)
        return self._one_hot(self.probabilities.argmax(axis=1))

    @property
    def truth(self) -> Array | None:
        """(N, K) booleans, the classes of the labels."""
        if self.labels is None or self.labels.ndim == 2:
            return None if self.labels is None else self.labels > 0
        return self._one_hot(self.labels)

    @property
    def reliability(self) -> Reliability | None:
        """Confidence beside accuracy; None without labels."""
        if self.labels is None:
            return None
        return reliability(self.probabilities, self.labels, self.contract.task)

    def figures(self, *, bootstrap: int, seed: int) -> Metrics:
        """The figures that a run would evaluate, and the calibration error; none without labels.

        Args:
            bootstrap: Resamples of patients for the intervals; 0 for none.
            seed: Seeds the resamples.
        """
        if self.labels is None or self.reliability is None:
            return {}
        truth, said = torch.from_numpy(self.labels), torch.from_numpy(self.probabilities)
        weights = resample(self.patients, resamples=bootstrap, seed=seed)
        figures = figures_of(rows_of(said, truth, self.contract.task), self.contract)
        measured = {name: measure(figure, weights) for name, figure in figures.items()}
        return measured | {ERROR: self.reliability.error}

    def _one_hot(self, numbers: Array) -> Array:
        return np.asarray(np.arange(len(self.contract.classes)) == numbers[:, None])


def predict_site(
    model: FinishedModel, data: Path, site: str, split: Split, *, give_way: Callable[[], None] = lambda: None
) -> Predictions:
    """Predict every image of a split, standardised by the site's own training images, as in training.

    Args:
        model: The model.
        data: The folder of the data.
        site: The site.
        split: Which of its images.
        give_way: Called after every batch; others may compute until it returns.

    Raises:
        DataError: The site cannot be read, or its images are not what the model was trained on.
        DivergedError: A prediction is not finite.
        SpecError: The model names no classes of whole images.
    """
    check_names_images(model)
    images = open_fitting(model, data, site, split)
    found = np.concatenate([said.numpy() for said, _ in said_of_batches(model, images, give_way)])
    return Predictions(
        site=site,
        contract=model.plan.contract,
        images=images.rows.numpy(),
        names=tuple(read_site(data, site, model.spec.dataset).names[images.rows.numpy()].tolist()),
        patients=images.patients,
        probabilities=found,
        labels=None if images.labels is None else images.labels.numpy(),
    )


@torch.no_grad()
def said_of_batches(
    model: FinishedModel, images: ImageSet, give_way: Callable[[], None]
) -> Iterator[tuple[Tensor, Batch]]:
    """What a model says of images, batch by batch, on the CPU; it computes on a GPU where there is one.

    Args:
        model: The model.
        images: The images.
        give_way: Called after every batch; others may compute until it returns.

    Raises:
        DivergedError: A prediction is not finite.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    method = model.method.to(device)
    try:
        for batch in Loader(images, batch_size=BATCH_SIZE, augment=False).in_order(BATCH_SIZE):
            said = method.predict_batch(batch.to(device)).cpu()
            refuse_diverged(said.numpy())
            yield said, batch
            give_way()
    finally:
        method.cpu()


def refuse_diverged(predictions: Array) -> None:
    """Refuse predictions of which the greatest would name a class all the same.

    Raises:
        DivergedError: One is not finite.
    """
    if not np.isfinite(predictions).all():
        raise DivergedError(
            "the model's predictions are not finite: its weights diverged in training. Choose another stage, or the "
            "best weights instead of the last ones"
        )
