"""Counting, at one site, what a frozen classifier says of its images: all that a common matching of classes needs."""

from pathlib import Path

import torch
from torch import Tensor

from fedward_core.cards import Split
from fedward_core.errors import SpecError
from fedward_core.spec import Spec
from fedward_models.building import build_method
from fedward_models.data import Loader, open_split
from fedward_models.methods.evp.config import EVPConfig
from fedward_models.methods.evp.evp import EVP
from fedward_models.methods.evp.matching import count_answers
from fedward_models.methods.evp.tower import ClassifierHead
from fedward_models.training.evaluation import BATCH_SIZE


def evp_stage(spec: Spec, name: str | None = None) -> int:
    """The index of a spec's stage of evp with a classifier in a file.

    Args:
        spec: The run.
        name: The stage's name; None for the only one.

    Raises:
        SpecError: There is no such stage, or several, or its classifier is in no file.
    """
    found = [
        index
        for index, stage in enumerate(spec.stages)
        if isinstance(stage.method, EVPConfig) and name in (None, stage.name)
    ]
    if len(found) != 1:
        called = f" called '{name}'" if name else ""
        none = f"the spec has no stage of evp{called}, the method whose 'mapping' this finds"
        raise SpecError(f"the spec has {len(found)} stages of evp: choose one with --stage" if found else none)
    config = spec.stages[found[0]].method
    assert isinstance(config, EVPConfig)
    if config.head != "classifier" or isinstance(config.weights, str):
        raise SpecError(
            "classes are matched with those of a classifier in a file: set head: classifier, and name it in 'weights'. "
            "A text head and the classifier of a previous stage have the study's own classes"
        )
    return found[0]


@torch.no_grad()
def count_site(spec: Spec, stage: int, data: Path, site: str) -> tuple[Tensor, tuple[str, ...]]:
    """Count over the training images of a site, whole, unchanged and without a prompt.

    Args:
        spec: The run; the mapping that its stage may have is not read.
        stage: The index of the stage.
        data: A folder with one file or folder for each site.
        site: The site.

    Returns:
        (K, S) counts as of :func:`count_answers`, and the names of the K classes.

    Raises:
        SpecError: The network does not fit the study.
        DataError: The site's data cannot be used, or has no labels.
        CheckpointError: The classifier's file is missing, is another, or holds another network.
    """
    images = open_split(data, site, spec.dataset, Split.TRAIN)
    classes = images.contract.classes
    method = build_method(_with_any_mapping(spec, stage, len(classes)), stage, images.contract).eval()
    assert isinstance(method, EVP)
    assert isinstance(method.head, ClassifierHead)
    batches = Loader(images, batch_size=BATCH_SIZE, augment=False).in_order(BATCH_SIZE)
    answers = ((method.answers(batch), batch.class_numbers(len(classes))) for batch in batches)
    return count_answers(answers, classes=len(classes), source_classes=len(method.head.weight)), classes


def _with_any_mapping(spec: Spec, stage: int, classes: int) -> Spec:
    """The spec with some mapping, since a classifier of other classes cannot be built without one."""
    method = spec.stages[stage].method.model_copy(update={"mapping": tuple(range(classes))})
    stages = list(spec.stages)
    stages[stage] = stages[stage].model_copy(update={"method": method})
    return spec.model_copy(update={"stages": tuple(stages)})
