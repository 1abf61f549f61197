"""What a program needs to know to use an exported model: ``model.json``."""

from typing import Any

from fedward_core.cards import Task
from fedward_core.spec import Standardisation
from fedward_models.export.network import INPUT, OUTPUT
from fedward_models.inference.finished_model import FinishedModel


def describe(model: FinishedModel, standardisation: Standardisation | None) -> dict[str, Any]:
    """Everything about a model but its numbers, as JSON values.

    Args:
        model: The model.
        standardisation: That of the site which exports; None where each user takes that of their own images.
    """
    backbone, contract = model.spec.backbone_of(model.index), model.plan.contract
    return {
        "spec_digest": model.spec.digest(),
        "stage": model.stage.name,
        "weights": model.weights,
        "method": model.stage.method.model_dump(mode="json"),
        "backbone": backbone.model_dump(mode="json") if backbone else None,
        "personalise": model.stage.personalise.model_dump(mode="json") if model.stage.personalise else None,
        "dataset": model.spec.dataset.model_dump(mode="json"),
        "contract": contract.model_dump(mode="json"),
        "input": {"name": INPUT, "shape": ["batch", *model.input_shape], "dtype": "float32"},
        "output": {"name": OUTPUT, "classes": list(contract.classes), "sum_to_1": contract.task is not Task.MULTI_LABEL}
        if model.stage.method.needs_labels
        else None,
        "standardisation": standardisation.model_dump() if standardisation else None,
    }
