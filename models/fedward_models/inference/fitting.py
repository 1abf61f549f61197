"""Whether a finished model fits its use: it says what is asked, and a site's images are like those that it knows."""

from pathlib import Path

from fedward_core.cards import Contract, Split, Task, differences
from fedward_core.errors import DataError, SpecError
from fedward_models.data import open_split
from fedward_models.data.image_set import ImageSet
from fedward_models.inference.finished_model import FinishedModel


def check_names_images(model: FinishedModel) -> None:
    """Make sure that a model names classes of whole images.

    Raises:
        SpecError: It was trained without labels, or names classes of pixels.
    """
    model.check_classes()
    if model.plan.contract.task is Task.SEGMENTATION:
        raise SpecError("this model gives a class to every pixel: choose one that names classes of whole images")


def open_fitting(model: FinishedModel, data: Path, site: str, split: Split) -> ImageSet:
    """Open the images of a site for a model that says something about images by itself.

    Labels go by name: a site may have some of the model's classes only, and in an order of its own.

    Raises:
        DataError: The site cannot be read, or its images are not what the model was trained on.
        SpecError: The model was trained without labels.
    """
    model.check_classes()
    dataset, classes = model.spec.dataset, model.plan.contract.classes
    images = open_split(data, site, dataset, split)
    if (own := images.contract.classes) and own != classes and set(own) <= set(classes):
        images = open_split(data, site, dataset.model_copy(update={"classes": classes}), split)
    _check_contract(model.plan.contract, images.contract, site, labelled=images.labels is not None)
    return images


def _check_contract(expected: Contract, found: Contract, site: str, *, labelled: bool) -> None:
    """Labels of another meaning, or heads of another size, would be compared without anybody noticing."""
    names = ("kind", "depth", "channels", "spacing_mm", *(("task", "classes") if labelled else ()))
    for name, (ours, theirs) in differences(expected, found).items():
        if name in names:
            raise DataError(
                f"site '{site}' does not fit the model: {name} is {_told(theirs)}, expected {_told(ours)}. Choose data "
                "like the model's, or another model"
            )


def _told(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
